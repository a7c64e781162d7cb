// A test notice from the page: one that arrives, one whose receiver is away; the list keeps what came of it.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { errand, given, MODES, Visit, withBrowser } from './look.mjs';

const text = (visit, selector) => visit.page.locator(selector).innerText();

/** Presses a target's button; gives what is said below its row. */
async function test(visit, name) {
  await visit.page.getByRole('button', { name: `Send a test to ${name}` }).click();
  await visit.page.locator('[data-keep] li').first().waitFor();
  return text(visit, '[data-keep]');
}

await withBrowser(async (browser) => {
  const taken = [];
  const receiver = createServer((request, response) => {
    let body = '';
    request.on('data', (part) => { body += part; });
    request.on('end', () => {
      taken.push(body);
      response.writeHead(200).end('ok');
    });
  });
  await new Promise((done) => receiver.listen(given.receiver, '127.0.0.1', done));
  const olu = await Visit.begin(browser);
  await olu.signIn('olu', '/integrations');
  assert.match(await test(olu, 'releases'), /done.*done.*done.*releases took the test/s);
  assert.equal(taken.length, 1);
  assert.match(await text(olu, '#said'), /releases took the test/);
  assert.equal(await olu.page.evaluate(() => document.activeElement.dataset.test), 'releases');

  receiver.closeAllConnections();
  await new Promise((done) => receiver.close(done));
  const failed = await test(olu, 'releases');
  assert.match(failed, /done.*Its receiver answers: .*not tried.*What to do: From the broker/s);
  // What is said stays when the list is refreshed.
  await errand({ do: 'ask', job: 'elsewhere' });
  await olu.page.waitForTimeout(1500);
  assert.equal(await text(olu, '[data-keep]'), failed);
  await olu.inOrder('integrations-tested');
  await olu.page.setViewportSize(MODES.phone.viewport);
  await olu.inOrder('integrations-tested-phone');

  const avery = await Visit.begin(browser);
  await avery.signIn('avery', '/integrations');
  assert.equal(await avery.page.locator('[data-test]').count(), 0, 'who may not is shown no button');
  for (const visit of [olu, avery]) await visit.end();
});
