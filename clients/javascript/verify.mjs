#!/usr/bin/env node
// The second verifier at a terminal: node verify.mjs FILE|FOLDER [--key VKEY]… [--trust POLICY] [--since CHECKPOINT]
// [--max-age SECONDS] [--all] [-o json]. Exit codes are those of `stint ledger verify`: 0, 8, 9; 2 for bad usage.

import { openAsBlob, readFileSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { ContainerError, folder } from './src/bundle.js';
import { parseKept } from './src/checkpoint.js';
import { inJson, inWords, unreadable } from './src/report.js';
import { parseKeys, parsePolicy } from './src/trust.js';
import { verify } from './src/verify.js';
import { openZip } from './src/zip.js';

const USAGE = 2;

/**
 * A bundle on the disk.
 * @param {string} path of a zip or a folder
 */
export async function openBundle(path) {
  if (!statSync(path).isDirectory()) return openZip(await openAsBlob(path));
  const files = new Map();
  for (const entry of readdirSync(path, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const full = join(entry.parentPath ?? entry.path, entry.name);
    files.set(full.slice(path.length).replace(/^\/+/, ''), await openAsBlob(full));
  }
  return folder(files);
}

function asked() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      key: { type: 'string', multiple: true, default: [] },
      trust: { type: 'string' },
      since: { type: 'string', multiple: true, default: [] },
      'max-age': { type: 'string' },
      all: { type: 'boolean', default: false },
      output: { type: 'string', short: 'o', default: 'text' },
    },
  });
  if (positionals.length !== 1) throw new Error('which bundle?');
  statSync(positionals[0]);
  const maxAge = values['max-age'] === undefined ? undefined : Number(values['max-age']) * 1_000;
  if (Number.isNaN(maxAge)) throw new Error('--max-age is a number of seconds');
  const policy = values.trust === undefined ? undefined : parsePolicy(readFileSync(values.trust));
  const keys = [...parseKeys(values.key.join('\n')), ...(policy?.logs ?? [])];
  const seen = values.since.map((path) => parseKept(readFileSync(path, 'utf8')));
  return {
    path: positionals[0],
    json: values.output === 'json',
    trust: { keys, policy, seen },
    options: { now: Date.now(), maxAge, all: values.all },
  };
}

async function main() {
  let ask;
  try {
    ask = asked();
  } catch (error) {
    console.error(`verify.mjs: ${error.message}`);
    return USAGE;
  }
  const told = await openBundle(ask.path)
    .then((source) => verify(source, ask.trust, ask.options))
    .catch((error) => {
      if (error instanceof ContainerError) return unreadable(error.message);
      throw error;
    });
  console.log(ask.json ? inJson(told) : inWords(told));
  return told.exit;
}

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) process.exitCode = await main();
