// Every page in every light and size, with and without JavaScript, and what a page weighs.

import assert from 'node:assert/strict';
import { ask, errand, given, MODES, ORIGIN, Visit, withBrowser } from './look.mjs';

const LIGHT_ENOUGH = 100_000;

/** What the browser loads for a page, nothing of it kept from before. */
async function weight(browser, state, path) {
  const context = await browser.newContext({ storageState: state });
  const page = await context.newPage();
  const bodies = [];
  page.on('response', (response) => bodies.push(response.body().catch(() => '')));
  await page.goto(`${ORIGIN}${path}`, { waitUntil: 'networkidle' });
  const sizes = (await Promise.all(bodies)).map((body) => body.length);
  await context.close();
  return sizes.reduce((all, size) => all + size, 0);
}

await withBrowser(async (browser) => {
  const states = new Map([['', undefined]]);
  for (const who of new Set(given.pages.map((page) => page.who))) {
    if (who === '') continue;
    const visit = await Visit.begin(browser);
    await visit.signIn(who, '/me');
    states.set(who, await visit.context.storageState());
    await visit.end();
  }
  // After the logins: they say which accounts elsewhere are whose.
  const request = await ask('sweep', { reason: 'A line of prose, and another.', initiator: '28' });
  const free = await errand({ do: 'ask', job: 'free', resource: 'Environment::staging/web', reason: 'v2.3.1', initiator: '28' });
  const denied = await errand({ do: 'ask', job: 'branch', ref: 'refs/heads/fix-12' });
  const made = { request: request.id, grant: free.body.grant, task: free.body.task, decision: denied.body.decision, digest: 'A'.repeat(43) };
  for (const { who, path, name } of given.pages) {
    const at = path.replaceAll(/\{(\w+)\}/g, (_, what) => made[what]);
    for (const [mode, options] of Object.entries(MODES)) {
      const visit = await Visit.begin(browser, { ...options, storageState: states.get(who) });
      visit.expect('404 (Not Found)');
      // A session has four streams, and a sweep turns pages faster than people do.
      visit.expect('429 (Too Many Requests)');
      await visit.go(at);
      await visit.inOrder(`${name}-${mode}`);
      await visit.end();
    }
    // Without JavaScript it reads as well.
    const plain = await browser.newContext({ javaScriptEnabled: false, storageState: states.get(who) });
    const page = await plain.newPage();
    await page.goto(`${ORIGIN}${at}`);
    assert.equal(await page.locator('h1').count(), 1, at);
    await plain.close();
    const bytes = await weight(browser, states.get(who), at);
    assert(bytes > 1000 && bytes < LIGHT_ENOUGH, `${at} weighs ${bytes} bytes`);
  }
});
