// The votes under a grant, checked in the reader's own browser; and what it says of votes that were tampered with.

import assert from 'node:assert/strict';
import { ask, errand, given, MODES, Visit, withBrowser } from './look.mjs';

const text = (visit, selector) => visit.page.locator(selector).innerText();

/** Presses the button, and waits for what the verifier says. */
async function check(visit) {
  await visit.page.locator('#votes-check').click();
  await visit.page.locator('#votes-said[data-state]').waitFor();
  return text(visit, '#votes-said');
}

/** Has the broker hand over other entries than it recorded. */
async function forge(visit, change) {
  await visit.page.unroute('**/votes');
  await visit.page.route('**/votes', async (route) => {
    const answer = await route.fetch({ url: route.request().url().replace('localhost:8640', `127.0.0.1:${given.port}`), headers: { ...route.request().headers(), host: 'localhost:8640' } });
    const told = await answer.json();
    const at = told.entries.findIndex(({ body }) => body?.includes('"assertion"'));
    change(told.entries, at);
    await route.fulfill({ status: 200, contentType: 'application/json', body: JSON.stringify(told) });
  });
}

await withBrowser(async (browser) => {
  const request = await ask('counted');
  for (const name of ['dana', 'lee']) {
    const visit = await (await Visit.begin(browser)).withAuthenticator();
    await visit.signIn(name, `/a/${request.id}`);
    await visit.enrol();
    await visit.page.locator('#code').fill(request.code);
    await visit.page.locator('#note').fill(`Fine, says ${name}`);
    await Promise.all([visit.page.waitForEvent('load'), visit.page.locator('#yes').click()]);
    await visit.end();
  }
  const redeemed = await errand({ do: 'ask', job: 'counted' });
  assert.equal(redeemed.status, 201, JSON.stringify(redeemed.body));
  const path = `/grants/${redeemed.body.grant}`;

  const avery = await Visit.begin(browser);
  await avery.signIn('avery', path);
  assert.match(await text(avery, '#votes'), /Dana Ortiz approved it, for .*Fine, says dana/s);
  // Nobody's key, nobody's word: the signatures hold, but of which log they are is open.
  assert.match(await check(avery), /Not decided All 2 votes are signed/);
  assert.equal(await avery.page.locator('.verdict[data-state=ok]').count(), 2);
  assert.match(await avery.page.locator('.verdict').first().innerText(), /Signed by the passkey of entry \d+/);
  await avery.page.locator('#votes-key').fill(given.vkey);
  assert.match(await check(avery), /Verified All 2 votes are signed.*whose key you gave/);
  await avery.page.locator('#votes details').first().locator('summary').click();
  assert.match(await text(avery, '#votes details[open] table'), /Environment::"prod\/web"/);
  await avery.inOrder('grant-votes');
  await avery.page.setViewportSize(MODES.phone.viewport);
  await avery.inOrder('grant-votes-phone');

  const forgeries = {
    'another assertion': [(entries, at) => { entries[at].body = entries[at].body.replace(/"signature":"..../, '"signature":"AAAA'); }, 'failed', /not the one that was recorded/],
    'a body withheld': [(entries, at) => { entries[at].body = null; }, 'incomplete', /its body is not here/],
    'another header': [(entries, at) => { entries[at].proof = entries[at].proof.replace(/^extra ..../m, 'extra AAAA'); }, 'failed', /./],
    'a vote left out': [(entries, at) => { entries.splice(at, 1); }, 'incomplete', /is not here/],
    'a passkey left out': [(entries) => { entries.splice(0, 1); }, 'incomplete', /is not here/],
  };
  for (const [name, [change, state, why]] of Object.entries(forgeries)) {
    await avery.go(path);
    await forge(avery, change);
    await avery.page.locator('#votes-key').fill(given.vkey);
    const said = await check(avery);
    assert.equal(await avery.page.locator('#votes-said').getAttribute('data-state'), state, `${name}: ${said}`);
    assert.match(said, why, name);
  }
  await avery.inOrder('grant-votes-left-out');
  await avery.end();
});
