// Two of a group decide; who may not is told why; a no after a yes ends it.

import assert from 'node:assert/strict';
import { ask, errand, Visit, withBrowser } from './look.mjs';

const text = (visit, selector) => visit.page.locator(selector).innerText();

async function yes(visit, code) {
  await visit.page.locator('#code').fill(code);
  await Promise.all([visit.page.waitForEvent('load'), visit.page.locator('#yes').click()]);
}

await withBrowser(async (browser) => {
  const request = await ask('one');
  const dana = await (await Visit.begin(browser)).withAuthenticator();
  await dana.signIn('dana', `/a/${request.id}`);
  await dana.enrol();
  await yes(dana, request.code);
  // Still open, and dana has said yes: that button is off, and says why.
  assert.match(await text(dana, '.needs'), /1 of 2/);
  assert(await dana.page.locator('#yes').isDisabled());
  assert.match(await text(dana, '#yes-why'), /you said so already/);
  await dana.inOrder('request-half');
  assert.equal((await errand({ do: 'ask', job: 'one' })).status, 202);

  const lee = await (await Visit.begin(browser)).withAuthenticator();
  await lee.signIn('lee', `/a/${request.id}`);
  assert.match(await text(lee, '.timeline'), /Dana Ortiz approved it/);
  await lee.enrol();
  await errand({ do: 'later', seconds: 1 });
  await yes(lee, request.code);
  assert.match(await text(lee, '#outcome'), /Approved by Lee Park/);

  // A no still ends it.
  await dana.go(`/a/${request.id}`);
  await dana.page.locator('#note').fill('Wait: the wrong tag');
  await Promise.all([dana.page.waitForEvent('load'), dana.page.locator('#no').click()]);
  assert.match(await text(dana, '#outcome'), /Refused by Dana Ortiz/);
  await dana.inOrder('request-refused-after-yes');
  assert.equal((await errand({ do: 'ask', job: 'one' })).status, 403);

  // The page of somebody who sees it and may not decide it; a stranger to it sees nothing.
  // A login says which accounts elsewhere are whose.
  const kim = await Visit.begin(browser);
  await kim.signIn('kim', '/inbox');
  await kim.inOrder('inbox-empty');
  const own = await ask('own', { initiator: '28' });
  await kim.go(`/a/${own.id}`);
  assert.match(await text(kim, '#why'), /it is your own/);
  assert(await kim.page.locator('#booth button').first().isDisabled());
  await kim.inOrder('request-own');
  await kim.go('/inbox');
  assert.match(await text(kim, 'main'), /You cannot vote: it is your own/);
  kim.expect('404');
  await kim.go(`/a/req_${'0'.repeat(26)}`);
  const unknown = await text(kim, 'main');
  const foreign = await ask('foreign', { initiator: '999' });
  await kim.go(`/a/${foreign.id}`);
  assert.equal(await text(kim, 'main'), unknown, 'what is foreign reads like what is not there');
  for (const visit of [dana, lee, kim]) await visit.end();
});
