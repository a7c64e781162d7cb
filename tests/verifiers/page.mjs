// verify.html in Chromium: node page.mjs PAGE FOLDER SCREENSHOTS. FOLDER has sound.stint, tampered.stint, none.stint, an
// unpacked bundle, and the key. Fails on a wrong verdict, a console message, a report of the content security policy, a
// request beyond the page itself, anything axe finds, and a page wider than the window.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const require = createRequire(new URL('../interop/package.json', import.meta.url));
const { chromium } = require('playwright-core');
const AXE = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const [pagePath, folder, screenshots] = process.argv.slice(2).map((path) => resolve(path));
const at = (name) => join(folder, name);
const VKEY = readFileSync(at('vkey'), 'utf8').trim();
const BROWSERS = ['/usr/bin/chromium', '/usr/bin/chromium-browser'];

/** A page, and a watch over all it does. */
class Looked {
  static async at(browser, name, options) {
    const context = await browser.newContext({ offline: true, ...options });
    await context.addInitScript(() => {
      window.reports = [];
      document.addEventListener('securitypolicyviolation', (event) => window.reports.push(event.violatedDirective));
    });
    const page = await context.newPage();
    const looked = new Looked(name, page);
    page.on('console', (message) => looked.faults.push(`console: ${message.text()}`));
    page.on('pageerror', (error) => looked.faults.push(`error: ${error.stack}`));
    page.on('dialog', (dialog) => {
      looked.faults.push(`dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on('request', (request) => {
      if (request.url() !== pathToFileURL(pagePath).href) looked.faults.push(`request: ${request.url()}`);
    });
    await page.goto(pathToFileURL(pagePath).href);
    return looked;
  }

  constructor(name, page) {
    this.name = name;
    this.page = page;
    this.faults = [];
  }

  /** Nothing was wrong so far; and a picture for people. */
  async inOrder(what) {
    const { page } = this;
    await page.evaluate(AXE);
    const { violations, passes } = await page.evaluate(() => globalThis.axe.run(document));
    assert(passes.length > 10, 'axe looked at the page');
    for (const { id, nodes } of violations) this.faults.push(`axe: ${id}: ${nodes.map((node) => node.html).join(' ')}`);
    const reports = await page.evaluate(() => window.reports);
    for (const report of reports) this.faults.push(`content security policy: ${report}`);
    if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) this.faults.push('wider than the window');
    await page.screenshot({ path: join(screenshots, `verify-${what}-${this.name}.png`), fullPage: true });
    assert.deepEqual(this.faults, [], `${what}, ${this.name}`);
  }

  async check(bundle, key) {
    const { page } = this;
    await page.setInputFiles('#file', at(bundle));
    await page.fill('#key', key);
    await page.getByRole('button', { name: 'Check' }).click();
    await page.locator('#result').waitFor();
    await page.locator('#check:enabled').waitFor();
    return page.locator('#result-heading').innerText();
  }

  async states() {
    const lines = await this.page.locator('#verdicts > li').all();
    return Object.fromEntries(await Promise.all(lines.map(async (line) => [
      await line.locator('code').innerText(),
      await line.getAttribute('class'),
    ])));
  }
}

async function reads(looked) {
  const { page } = looked;
  await looked.inOrder('empty');
  await page.getByText('More to hold it against').click();
  await looked.inOrder('open');
  await page.getByText('More to hold it against').click();

  assert.equal(await looked.check('sound.stint', ''), 'Not decided');
  assert.equal((await looked.states()).signature, 'incomplete');
  assert(!/verified/i.test(await page.locator('#result').innerText()), 'never verified without a key');
  await looked.inOrder('undecided');

  assert.equal(await looked.check('sound.stint', VKEY), 'Verified');
  const { bytes, chain, root, signature, complete } = await looked.states();
  assert.deepEqual([bytes, chain, root, signature, complete], Array(5).fill('ok'));
  await page.locator('#list li').nth(49).waitFor();
  await page.getByRole('button', { name: 'Show more' }).click();
  await page.locator('#list li').nth(55).waitFor();
  await page.fill('#text', 'onerror');
  await page.getByRole('button', { name: 'Find' }).click();
  await page.getByText('One entry.').waitFor();
  await page.locator('#list summary').click();
  const body = await page.locator('#list pre').nth(1).innerText();
  assert(body.includes('<img src=x onerror=alert(1)>') && body.includes('\\u{202e}'), 'data is text, and visible');
  assert.equal(await page.locator('#list img, #list script').count(), 0);
  assert.equal(await page.title(), 'Check a ledger bundle · Stint');
  await looked.inOrder('verified');

  assert.equal(await looked.check('tampered.stint', VKEY), 'Failed');
  assert.match(await page.locator('#result-text').innerText(), /entry \d+ is not the one entry \d+ was linked to/i);
  assert.equal((await looked.states()).chain, 'failed');
  await page.locator('#verdicts .failed button').first().click();
  await page.locator('#list details[open] pre').first().waitFor();
  assert.match(await page.locator('#list pre').first().innerText(), /"exp": 2/);
  await looked.inOrder('failed');

  assert.equal(await looked.check('none.stint', VKEY), 'Failed');
  assert.match(await page.locator('#result-text').innerText(), /not a bundle/i);
  assert(await page.locator('#entries').isHidden());

  await page.fill('#key', 'nonsense');
  await page.getByRole('button', { name: 'Check' }).click();
  assert.match(await page.locator('#key-fault').innerText(), /NAME\+8 hex digits/);
  assert.equal(await page.locator('#key').getAttribute('aria-invalid'), 'true');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'key');
  await looked.inOrder('fault');
}

/** An unpacked bundle, older checkpoints, and an age. */
async function holdsAgainst(looked) {
  const { page } = looked;
  await page.setInputFiles('#folder', at('unpacked'));
  await page.fill('#key', VKEY);
  await page.getByText('More to hold it against').click();
  await page.fill('#since', readFileSync(at('unpacked/checkpoint'), 'utf8'));
  await page.fill('#age', '1');
  await page.getByRole('button', { name: 'Check' }).click();
  await page.locator('#check:enabled').waitFor();
  await page.locator('#result').waitFor();
  const { append, fresh, signature } = await looked.states();
  assert.deepEqual({ append, signature }, { append: 'ok', signature: 'ok' });
  assert.equal(fresh, 'incomplete', "the test's clock is not the browser's");
  const fork = readFileSync(at('unpacked/checkpoint'), 'utf8').split('\n').slice(0, 2);
  await page.fill('#since', `${[...fork, 'A'.repeat(43)].join('\n')}=\n`);
  await page.getByRole('button', { name: 'Check' }).click();
  await page.getByText(/this is a fork/).first().waitFor();
  await looked.inOrder('fork');
}

/** All by keys: Tab, Space, Enter. */
async function goesByKeys(looked) {
  const { page } = looked;
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.tagName);
  const order = [];
  for (let i = 0; i < 5; i++) {
    await page.keyboard.press('Tab');
    order.push(await focused());
  }
  assert.deepEqual(order, ['file', 'folder', 'key', 'SUMMARY', 'check']);
  await page.setInputFiles('#file', at('sound.stint'));
  await page.focus('#key');
  await page.keyboard.insertText(VKEY);
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.locator('#list li').first().waitFor();
  assert.equal(await page.locator('#result-heading').innerText(), 'Verified');
  assert.equal(await focused(), 'result-heading');
  await page.locator('#list summary').first().focus();
  await page.keyboard.press('Enter');
  await page.locator('#list details[open] pre').first().waitFor();
  await looked.inOrder('keys');
}

async function main() {
  mkdirSync(screenshots, { recursive: true });
  const executablePath = BROWSERS.find((path) => existsSync(path));
  assert(executablePath, 'Chromium is not there: run `tests/run interop` once');
  const browser = await chromium.launch({ executablePath });
  try {
    const wide = { viewport: { width: 900, height: 900 } };
    await reads(await Looked.at(browser, 'light', { ...wide, colorScheme: 'light' }));
    await reads(await Looked.at(browser, 'dark', { ...wide, colorScheme: 'dark' }));
    await reads(await Looked.at(browser, 'narrow', { viewport: { width: 360, height: 740 }, colorScheme: 'light' }));
    await holdsAgainst(await Looked.at(browser, 'light', { ...wide, colorScheme: 'light' }));
    await goesByKeys(await Looked.at(browser, 'dark', { ...wide, colorScheme: 'dark' }));
  } finally {
    await browser.close();
  }
}

await main();
