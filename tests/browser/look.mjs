// What every script here stands on: a browser that is watched, people who sign in with it, and errands done outside of it.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const require = createRequire(new URL('../interop/package.json', import.meta.url));
const { chromium } = require('playwright-core');
const AXE = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const BROWSERS = ['/usr/bin/chromium', '/usr/bin/chromium-browser'];
const PICTURES = fileURLToPath(new URL('../../target/screenshots/', import.meta.url));

/** What the test gave along: `port` and `idp`, and what else the script wants. */
export const given = JSON.parse(process.argv[2]);
/** The broker's origin, wherever it listens. */
export const ORIGIN = 'http://localhost:8640';

/** Every light and size that a page has to do in. 200 % zoom of 1280 pixels is 640 of them, twice as dense. */
export const MODES = {
  light: { viewport: { width: 1280, height: 900 }, colorScheme: 'light' },
  dark: { viewport: { width: 1280, height: 900 }, colorScheme: 'dark' },
  phone: { viewport: { width: 360, height: 740 }, colorScheme: 'light', hasTouch: true },
  zoomed: { viewport: { width: 640, height: 450 }, deviceScaleFactor: 2, colorScheme: 'light' },
  contrast: { viewport: { width: 1280, height: 900 }, contrast: 'more', reducedMotion: 'reduce', colorScheme: 'light' },
};

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Has something done outside; gives what came of it. */
export async function errand(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`);
  const { value } = await lines.next();
  return JSON.parse(value);
}

/** A pipeline asks and is held: its request and match code. */
export async function ask(job, more = {}) {
  const { status, body } = await errand({ do: 'ask', job, ...more });
  assert.equal(status, 202, JSON.stringify(body));
  return { id: body.request, code: body.match_code };
}

/** Starts the browser, runs `story` with it, and ends it whatever happens. */
export async function withBrowser(story) {
  mkdirSync(PICTURES, { recursive: true });
  const executablePath = BROWSERS.find((path) => existsSync(path));
  assert(executablePath, 'Chromium is not there: run `tests/run browser` once');
  // The broker is called localhost:8640 and listens elsewhere.
  const args = [`--host-resolver-rules=MAP localhost:8640 127.0.0.1:${given.port}`];
  const browser = await chromium.launch({ executablePath, args });
  try {
    await story(browser);
  } finally {
    await browser.close();
    process.stdin.destroy();
  }
}

/** One person's browser, and a watch over all it does. */
export class Visit {
  static async begin(browser, mode = MODES.light) {
    const context = await browser.newContext(mode);
    await context.addInitScript(() => {
      window.reports = [];
      document.addEventListener('securitypolicyviolation', (event) => {
        window.reports.push(`${event.violatedDirective} ${event.blockedURI}`);
      });
    });
    const page = await context.newPage();
    return new Visit(context, page);
  }

  constructor(context, page) {
    this.context = context;
    this.page = page;
    this.faults = [];
    this.expected = [];
    this.bytes = new Map();
    page.on('console', (message) => {
      // What the provider's own page lacks is its own affair.
      const { url } = message.location();
      const known = url.startsWith(`${given.idp}/`) || this.expected.some((text) => message.text().includes(text));
      if (!known) this.faults.push(`console: ${message.text()} ${url}`);
    });
    page.on('pageerror', (error) => this.faults.push(`error: ${error.stack}`));
    page.on('dialog', (dialog) => {
      this.faults.push(`dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on('request', (request) => {
      const known = [ORIGIN, given.idp].some((origin) => request.url().startsWith(`${origin}/`));
      if (!known) this.faults.push(`request: ${request.url()}`);
    });
  }

  /** A console message that belongs to what is tried: an answer that is no 200. */
  expect(text) {
    this.expected.push(text);
    return this;
  }

  async go(path) {
    await this.page.goto(`${ORIGIN}${path}`);
    return this;
  }

  /** Signs in by the links a person presses, and lands at `path`. */
  async signIn(name, path = '/inbox') {
    await this.go(path);
    assert.equal(new URL(this.page.url()).pathname, '/login', `${path} wants a login`);
    await this.page.locator('main').getByRole('link', { name: /sign in/i }).click();
    await this.page.getByRole('link', { name, exact: true }).click();
    await this.page.waitForURL(`${ORIGIN}${path}`);
    return this;
  }

  /** An authenticator that says yes, as the page's device. */
  async withAuthenticator(more = {}) {
    this.cdp = await this.context.newCDPSession(this.page);
    await this.cdp.send('WebAuthn.enable');
    const options = {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
      ...more,
    };
    const { authenticatorId } = await this.cdp.send('WebAuthn.addVirtualAuthenticator', { options });
    this.authenticator = authenticatorId;
    return this;
  }

  /** Makes a passkey where the page offers it. */
  async enrol(label = 'Test key') {
    await this.page.locator('#label').fill(label);
    await Promise.all([this.page.waitForEvent('load'), this.page.locator('#add').click()]);
    assert.equal(await this.page.locator('#add:visible').count() > 0, new URL(this.page.url()).pathname === '/me');
    return this;
  }

  /** Nothing was wrong so far, and nothing is with this page; and a picture for people. */
  async inOrder(name) {
    const { page } = this;
    await page.evaluate(AXE);
    const { violations, passes } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
    assert(passes.length > 5, 'axe looked at the page');
    for (const { id, nodes } of violations) this.faults.push(`axe: ${id}: ${nodes.map((node) => node.html).join(' ')}`);
    const reports = await page.evaluate(() => window.reports);
    for (const report of reports) this.faults.push(`content security policy: ${report}`);
    const wide = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    if (wide[0] > wide[1]) this.faults.push(`wider than the window: ${wide}`);
    if ((await page.locator('h1').count()) !== 1) this.faults.push('not one h1');
    if ((await page.locator('main').count()) !== 1) this.faults.push('not one main');
    await page.screenshot({ path: `${PICTURES}console-${name}.png`, fullPage: true });
    assert.deepEqual(this.faults, [], `${name}: ${page.url()}`);
  }

  async end() {
    assert.deepEqual(this.faults, []);
    await this.context.close();
  }
}
