// The JavaScript lint as a process one talks to: bytes in, `true` or `false` out. It also holds the two readers of
// canonical.js to each other: what the strict one refuses, the lenient one has to find a fault in.

import { createInterface } from 'node:readline';

import { fromBase64 } from '../../clients/javascript/src/base64.js';
import { LintError, canonical, lintBody, lintHeader } from '../../clients/javascript/src/canonical.js';
import { parseJson } from '../../clients/javascript/src/json.js';

function lints(kind, bytes) {
  try {
    (kind === 'header' ? lintHeader : lintBody)(bytes);
    return true;
  } catch (error) {
    if (!(error instanceof LintError)) throw error;
    if (error.message.startsWith('not the canonical spelling')) {
      const again = canonical(parseJson(bytes));
      if (Buffer.from(again).equals(bytes)) throw new Error(`refused what is canonical: ${again}`);
    }
    return false;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { kind, bytes } = JSON.parse(line);
  process.stdout.write(`${lints(kind, fromBase64(bytes))}\n`);
}
