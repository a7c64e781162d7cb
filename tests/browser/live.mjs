// A request that goes on while somebody looks at it: others vote, the policy changes, it is taken back, its time ends. The
// page follows without a reload, loses nothing that was typed, and changes no facts under a vote.

import assert from 'node:assert/strict';
import { ask, errand, Visit, withBrowser } from './look.mjs';

const text = (visit, selector) => visit.page.locator(selector).innerText();
const typed = async (visit) => [await visit.page.locator('#code').inputValue(), await visit.page.locator('#note').inputValue()];

/** Waits until a part of the page says it; nobody loads the page. */
async function says(visit, selector, words) {
  await visit.page.locator(selector).filter({ hasText: words }).waitFor({ timeout: 20_000 });
  assert.equal(await visit.page.evaluate(() => window.same), true, 'the page was not loaded again');
}

/** Marks a document: one that was loaded anew has no mark. */
const mark = (visit) => visit.page.evaluate(() => { window.same = true; });

await withBrowser(async (browser) => {
  const request = await ask('live', { initiator: '28' });
  const lee = await (await Visit.begin(browser)).withAuthenticator();
  await lee.signIn('lee', `/a/${request.id}`);
  await lee.enrol();
  const dana = await (await Visit.begin(browser)).withAuthenticator();
  await dana.signIn('dana', `/a/${request.id}`);
  await dana.enrol();
  await mark(dana);
  const avery = await Visit.begin(browser);
  await avery.signIn('avery', `/a/${request.id}`);
  await mark(avery);

  // Somebody else says yes. What was typed stays, and so does the cursor.
  await dana.page.locator('#note').fill('Half a thought');
  await dana.page.locator('#code').fill('12');
  await lee.page.locator('#code').fill(request.code);
  await Promise.all([lee.page.waitForEvent('load'), lee.page.locator('#yes').click()]);
  await says(dana, '#needs', '1 of 2');
  await says(dana, '#timeline', 'Lee Park approved it');
  assert.match(await text(dana, '#said'), /Lee Park approved it/, 'it is said');
  assert.deepEqual(await typed(dana), ['12', 'Half a thought']);
  assert.equal(await dana.page.evaluate(() => document.activeElement.id), 'code');
  assert(await dana.page.locator('#yes').isEnabled());
  await says(avery, '#timeline', 'Lee Park approved it');
  await dana.inOrder('request-live');

  // Another policy is in force: nobody votes before they have looked again, and looking keeps what was typed.
  const changed = { do: 'policy', name: 'web.cedar', from: 'Two SREs see', to: 'SREs see' };
  assert.equal((await errand(changed)).status, 200);
  await dana.page.locator('#stale').waitFor({ timeout: 20_000 });
  assert(await dana.page.locator('#yes').isDisabled() && await dana.page.locator('#no').isDisabled());
  await says(dana, '#came', 'The policies were changed');
  assert.match(await text(dana, '#said'), /look at it again/);
  await dana.inOrder('request-live-stale');
  await dana.page.locator('#look').click();
  assert.equal(await dana.page.evaluate(() => document.activeElement.id), 'facts-title');
  assert(await dana.page.locator('#stale').isHidden() && await dana.page.locator('#yes').isEnabled());
  assert.deepEqual(await typed(dana), ['12', 'Half a thought']);
  await dana.page.locator('#code').fill(request.code);
  await errand({ do: 'later', seconds: 1 });
  await Promise.all([dana.page.waitForEvent('load'), dana.page.locator('#yes').click()]);
  assert.match(await text(dana, '#outcome'), /Approved by Dana Ortiz/);
  await says(avery, '#outcome', 'Approved by Dana Ortiz');
  await avery.inOrder('request-live-reader');

  // Taken back: there is nothing to press any more, and what was typed can still be copied.
  const back = await ask('back');
  await dana.go(`/a/${back.id}`);
  await mark(dana);
  await dana.page.locator('#note').fill('Kept');
  assert.equal((await errand({ do: 'cancel', request: back.id })).status, 200);
  await says(dana, '#came', 'Cancelled');
  await says(dana, '#over', 'What you typed was not sent');
  assert(await dana.page.locator('#yes').isDisabled() && await dana.page.locator('#no').isDisabled());
  assert.equal(await dana.page.locator('#note').inputValue(), 'Kept');
  await dana.inOrder('request-live-cancelled');

  // Without the stream the page says so; a vote over facts of before is not signed, and looking again loses nothing.
  dana.expect('ERR_FAILED');
  await dana.page.route('**/v1/events', (route) => route.abort());
  const deaf = await ask('deaf');
  await dana.go(`/a/${deaf.id}`);
  await mark(dana);
  await says(dana, '#live-state', 'Live updates paused');
  await dana.page.locator('#code').fill(deaf.code);
  await dana.page.locator('#note').fill('Read well');
  assert.equal((await errand({ ...changed, from: 'SREs see', to: 'SREs look at' })).status, 200);
  await dana.page.locator('#yes').click();
  await says(dana, '#vote-fault', 'Nothing was signed: the policies were changed');
  await dana.page.locator('#vote-fault-next').click();
  await dana.page.locator('#vote-fault').waitFor({ state: 'hidden' });
  await says(dana, '#came', 'The policies were changed');
  assert.deepEqual(await typed(dana), [deaf.code, 'Read well']);
  await Promise.all([dana.page.waitForEvent('load'), dana.page.locator('#yes').click()]);
  assert.match(await text(dana, '#needs'), /1 of 2/);

  // Its time ends, and nobody sends word of that.
  const late = await ask('late');
  await dana.page.clock.install();
  await dana.go(`/a/${late.id}`);
  await mark(dana);
  await dana.page.locator('#note').fill('Too late');
  await errand({ do: 'later', seconds: 1201 });
  await dana.page.clock.fastForward('20:05');
  await says(dana, '#came', 'Nobody decided in time');
  assert.equal(await dana.page.locator('#note').inputValue(), 'Too late');
  for (const visit of [dana, lee, avery]) await visit.end();
});
