// The approver's journey: sign in, make a passkey, type the code, approve; by mouse and by keys alone; refuse; shorten.

import assert from 'node:assert/strict';
import { ask, errand, MODES, Visit, withBrowser } from './look.mjs';

const text = (visit, selector) => visit.page.locator(selector).innerText();

/** Presses a button that votes, and waits for the page that says what came of it. */
async function vote(visit, button) {
  await Promise.all([visit.page.waitForEvent('load'), visit.page.locator(button).click()]);
  await visit.page.locator('#outcome').waitFor();
}

await withBrowser(async (browser) => {
  const first = await ask('first', { reason: 'v2.3.1 of the shop' });
  const dana = await (await Visit.begin(browser)).withAuthenticator();
  await dana.signIn('dana', `/a/${first.id}`);
  assert.match(await text(dana, '#facts'), /Nothing else\./);
  assert(!(await dana.page.content()).includes(first.code), 'no page has the match code');
  await dana.inOrder('request-no-passkey');
  await dana.enrol();
  assert(await dana.page.locator('#ballot').isVisible(), 'a passkey opens the ballot in place');
  await dana.inOrder('request-open');

  // What is missing is said at its field, and the focus is there.
  await dana.page.locator('#yes').click();
  assert.equal(await dana.page.evaluate(() => document.activeElement.id), 'code');
  await dana.page.locator('#code').fill(first.code === '000' ? '001' : '000');
  dana.expect('400 (Bad Request)');
  await dana.page.locator('#yes').click();
  await dana.page.getByText('That is not what the requester sees').waitFor();
  await dana.inOrder('request-wrong-code');
  await dana.page.locator('#no').click();
  assert.equal(await dana.page.evaluate(() => document.activeElement.id), 'note');

  // Approved, for less than was asked for.
  await dana.page.locator('#code').fill(first.code);
  const shorter = await dana.page.locator('#lasts option').nth(1).innerText();
  await dana.page.locator('#lasts').selectOption({ label: shorter });
  await dana.page.locator('#note').fill('Looks right');
  await vote(dana, '#yes');
  assert.match(await text(dana, '#outcome'), /Approved by Dana Ortiz/);
  const timeline = await text(dana, '.timeline');
  assert(timeline.includes(`Dana Ortiz approved it, for ${shorter}`) && timeline.includes('Looks right'), timeline);
  assert.match(timeline, /Seen by Dana Ortiz/);
  await dana.inOrder('request-approved');
  const redeemed = await errand({ do: 'ask', job: 'first', reason: 'v2.3.1 of the shop' });
  assert.equal(redeemed.status, 201, JSON.stringify(redeemed.body));

  // Refused, with a reason that the pipeline reads.
  const second = await ask('second');
  await dana.go(`/a/${second.id}`);
  await dana.page.locator('#note').fill('Not during the sale');
  await vote(dana, '#no');
  assert.match(await text(dana, '#outcome'), /Refused by Dana Ortiz[^]*Not during the sale/);
  await dana.inOrder('request-refused');
  assert.equal((await errand({ do: 'ask', job: 'second' })).status, 403);

  // By keys alone, on a phone's width.
  const third = await ask('third');
  await dana.page.setViewportSize(MODES.phone.viewport);
  await dana.go('/inbox');
  await dana.page.keyboard.press('j');
  assert.equal(await dana.page.evaluate(() => document.activeElement.getAttribute('href')), `/a/${third.id}`);
  await dana.page.keyboard.press('Enter');
  await dana.page.waitForURL(`**/a/${third.id}`);
  const focused = () => dana.page.evaluate(() => document.activeElement.id);
  for (let i = 0; i < 40 && (await focused()) !== 'code'; i += 1) await dana.page.keyboard.press('Tab');
  await dana.page.keyboard.type(third.code);
  await dana.page.keyboard.press('Enter');
  assert.equal(await dana.page.locator('#outcome').count(), 0, 'Enter in a field votes nothing');
  for (let i = 0; i < 10 && (await focused()) !== 'yes'; i += 1) await dana.page.keyboard.press('Tab');
  await Promise.all([dana.page.waitForEvent('load'), dana.page.keyboard.press('Enter')]);
  await dana.page.locator('#outcome').waitFor();
  await dana.inOrder('request-approved-by-keys');
  assert.equal((await errand({ do: 'ask', job: 'third' })).status, 201);

  // Time over.
  const fourth = await ask('fourth');
  await errand({ do: 'later', seconds: 3601 });
  await dana.context.clearCookies();
  await dana.signIn('dana', `/a/${fourth.id}`);
  assert.match(await text(dana, '#outcome'), /Nobody decided in time/);
  await dana.inOrder('request-expired');
  await dana.end();
});
