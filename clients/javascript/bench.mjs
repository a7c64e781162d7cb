#!/usr/bin/env node
// How fast, and in how much memory: node bench.mjs [N | BUNDLE]. Makes a bundle of N entries (100,000 by default), all bodies
// disclosed, in a temporary folder, or takes one, and verifies it in a process of its own. With `--keep FOLDER` the folder
// stays, for the page: choose it there.

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { openBundle } from './verify.mjs';
import { parseKeys } from './src/trust.js';
import { verify } from './src/verify.js';
import { VKEY, writeFolder } from './test/make.mjs';

const DEFAULT = 100_000;

/** In the process that is measured. */
async function measured(path) {
  const source = await openBundle(path);
  const began = performance.now();
  const cpu = process.cpuUsage();
  const told = await verify(source, { keys: parseKeys(VKEY) }, { now: 0 });
  const seconds = (performance.now() - began) / 1_000;
  const { user, system } = process.cpuUsage(cpu);
  const entries = told.to - told.from;
  const rate = (time) => Math.round(entries / time).toLocaleString('en-GB');
  console.log(`${entries.toLocaleString('en-GB')} entries: exit ${told.exit}, ${told.summary}`);
  console.log(`${seconds.toFixed(1)} s, ${rate(seconds)} entries/s; ${((user + system) / 1e6).toFixed(1)} s of CPU`);
  console.log(`${Math.round(process.resourceUsage().maxRSS / 1_024)} MiB at most`);
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { keep: { type: 'string' }, measured: { type: 'boolean', default: false } },
  });
  const asked = positionals[0] ?? String(DEFAULT);
  if (values.measured) return measured(asked);
  const self = fileURLToPath(import.meta.url);
  const run = (path) => execFileSync(process.execPath, [self, '--measured', path], { stdio: 'inherit' });
  if (!/^[0-9_]+$/.test(asked)) return run(asked);
  const folder = values.keep ?? mkdtempSync(join(tmpdir(), 'stint-bench-'));
  mkdirSync(folder, { recursive: true });
  try {
    await writeFolder(folder, Number(asked.replaceAll('_', '')));
    run(folder);
  } finally {
    if (values.keep === undefined) rmSync(folder, { recursive: true });
  }
  if (values.keep !== undefined) console.log(`kept in ${folder}; its key is ${VKEY}`);
}

await main();
