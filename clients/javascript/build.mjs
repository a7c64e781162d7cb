#!/usr/bin/env node
// Makes verify.html: one file that needs no other. `node build.mjs` writes it, `node build.mjs --check` says whether it is
// up to date. Each module becomes a function that returns what it exports, in the order they need each other; nothing is
// minified, so that an auditor can read in the page what stands in src/ and page/.

import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const OUT = new URL('verify.html', import.meta.url);
const IMPORT = /^import \{([^}]*)\} from '([^']+)';\n/gm;
const EXPORT = /^export (?:async )?(?:function\*?|class|const) ([A-Za-z0-9_$]+)/gm;

/** A module as a function, those it imports before it. */
function collect(url, done, parts) {
  const key = url.href;
  if (done.has(key)) return done.get(key);
  const source = readFileSync(url, 'utf8');
  const path = fileURLToPath(url).slice(fileURLToPath(new URL('.', import.meta.url)).length);
  const name = path.replace(/\.js$/, '').replace(/[^A-Za-z0-9]/g, '_');
  done.set(key, name);
  const needs = [...source.matchAll(IMPORT)].map(([, names, from]) => {
    const needed = collect(new URL(from, url), done, parts);
    return `const {${names}} = ${needed};`;
  });
  const exports = [...source.matchAll(EXPORT)].map(([, exported]) => exported);
  const body = source.replace(IMPORT, '').replace(/^export /gm, '');
  if (/^(?:import|export)\b/m.test(body)) throw new Error(`${path}: an import or export this script does not know`);
  const needed = needs.length > 0 ? `${needs.join('\n')}\n` : '';
  parts.push(`// ${path}\nconst ${name} = (() => {\n${needed}${body}return { ${exports.join(', ')} };\n})();\n`);
  return name;
}

function script() {
  const parts = [];
  collect(new URL('page/main.js', import.meta.url), new Map(), parts);
  const text = `\n'use strict';\n(() => {\n${parts.join('\n')}})();\n`;
  if (/<\/script|<!--/i.test(text)) throw new Error('the script would end itself');
  return text;
}

const hash = (text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** The page. Only this very script and style run; nothing can be fetched; no text becomes markup. */
export function page() {
  const read = (name) => readFileSync(new URL(`page/${name}`, import.meta.url), 'utf8');
  const fill = { script: script(), style: `\n${read('page.css')}` };
  fill.policy = [
    "default-src 'none'",
    `script-src ${hash(fill.script)}`,
    `style-src ${hash(fill.style)}`,
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; ');
  return read('page.html').replace(/\{\{(\w+)\}\}/g, (_, name) => fill[name]);
}

function main() {
  const made = page();
  if (!process.argv.includes('--check')) {
    writeFileSync(OUT, made);
    return 0;
  }
  if (readFileSync(OUT, 'utf8') === made) return 0;
  console.error('verify.html is not what its modules make: run node clients/javascript/build.mjs');
  return 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = main();
