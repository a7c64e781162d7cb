// How fast verify.html is in Chromium, and in how much memory: node bench.mjs BUNDLE VKEY. BUNDLE is a file or a folder, as
// `node clients/javascript/bench.mjs N --keep FOLDER` leaves one; it says the key too.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const require = createRequire(new URL('../interop/package.json', import.meta.url));
const { chromium } = require('playwright-core');
const PAGE = new URL('../../clients/javascript/verify.html', import.meta.url).href;
const BROWSERS = ['/usr/bin/chromium', '/usr/bin/chromium-browser'];
const HOURS = 3_600_000;

/** What a process needed at most, by kind (`renderer`, which runs the page and its workers, or another), in MiB. */
function peaks(parent) {
  const processes = readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name)).flatMap((pid) => {
    try {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      const kind = /--type=([a-z-]+)/.exec(readFileSync(`/proc/${pid}/cmdline`, 'utf8'))?.[1] ?? 'browser';
      const number = (name) => Number(new RegExp(`^${name}:\\s+([0-9]+)`, 'm').exec(status)?.[1]);
      return [{ pid: Number(pid), parent: number('PPid'), peak: number('VmHWM') / 1_024, kind }];
    } catch {
      return []; // ended meanwhile
    }
  });
  const family = new Set([parent]);
  for (const { pid, parent: above } of processes) if (family.has(above)) family.add(pid);
  const ours = processes.filter(({ pid }) => family.has(pid));
  const most = (kind) => Math.round(Math.max(...ours.filter((it) => it.kind === kind).map((it) => it.peak)));
  return { renderer: most('renderer'), browser: most('browser') };
}

async function main() {
  const [bundle, key] = process.argv.slice(2);
  assert(key, 'node bench.mjs BUNDLE VKEY');
  const executablePath = BROWSERS.find((path) => existsSync(path));
  assert(executablePath, 'Chromium is not there: run `tests/run interop` once');
  const server = await chromium.launchServer({ executablePath });
  try {
    const browser = await chromium.connect(server.wsEndpoint());
    const page = await browser.newPage();
    await page.goto(PAGE);
    await page.setInputFiles(statSync(bundle).isDirectory() ? '#folder' : '#file', resolve(bundle));
    await page.fill('#key', key);
    const empty = peaks(server.process().pid);
    const began = performance.now();
    await page.getByRole('button', { name: 'Check' }).click();
    await page.locator('#result').waitFor({ timeout: HOURS });
    await page.locator('#check:enabled').waitFor({ timeout: HOURS });
    const seconds = (performance.now() - began) / 1_000;
    const full = peaks(server.process().pid);
    console.log(`${await page.locator('#result-heading').innerText()} in ${seconds.toFixed(1)} s`);
    console.log(`the page's process: ${full.renderer} MiB at most, ${empty.renderer} before; the browser's: ${full.browser}`);
  } finally {
    await server.close();
  }
}

await main();
