// The JavaScript verifier's readers of the auditor's own texts as a process one talks to: kind and bytes in, whether the
// text is taken out.

import { createInterface } from 'node:readline';

import { fromBase64 } from '../../clients/javascript/src/base64.js';
import { parseKept } from '../../clients/javascript/src/checkpoint.js';
import { utf8 } from '../../clients/javascript/src/json.js';
import { parseKey, parseNote } from '../../clients/javascript/src/note.js';
import { parsePolicy } from '../../clients/javascript/src/trust.js';

const READ = {
  policy: parsePolicy,
  key: (bytes) => parseKey(utf8(bytes)),
  note: (bytes) => parseNote(utf8(bytes)),
  checkpoint: (bytes) => parseKept(utf8(bytes)),
};

function takes(kind, bytes) {
  try {
    READ[kind](bytes);
    return true;
  } catch {
    return false;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { kind, bytes } = JSON.parse(line);
  process.stdout.write(`${takes(kind, fromBase64(bytes))}\n`);
}
