// The JavaScript verifier's Ed25519 as a process one talks to: key, message and signature in (hex), `true` or `false` out.

import { createInterface } from 'node:readline';

import { verifyEd25519 } from '../../clients/javascript/src/ed25519.js';

const bytes = (hex) => new Uint8Array(Buffer.from(hex, 'hex'));

for await (const line of createInterface({ input: process.stdin })) {
  const { key, message, signature } = JSON.parse(line);
  process.stdout.write(`${verifyEd25519(bytes(key), bytes(message), bytes(signature))}\n`);
}
