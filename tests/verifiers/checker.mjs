// The JavaScript verifier as a process one talks to: a case a line in, a report a line out. Files, or a zip, are base64.

import { createInterface } from 'node:readline';

import { digest } from '../../clients/javascript/src/base64.js';
import { ContainerError, folder } from '../../clients/javascript/src/bundle.js';
import { parseKept } from '../../clients/javascript/src/checkpoint.js';
import { inJson, unreadable } from '../../clients/javascript/src/report.js';
import { parseKeys, parsePolicy } from '../../clients/javascript/src/trust.js';
import { verify } from '../../clients/javascript/src/verify.js';
import { openZip } from '../../clients/javascript/src/zip.js';

const blob = (text) => new Blob([Buffer.from(text, 'base64')]);

async function source({ files, zip }) {
  if (zip !== undefined) return openZip(blob(zip));
  return folder(new Map(Object.entries(files).map(([name, text]) => [name, blob(text)])));
}

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  const keys = parseKeys(asked.keys.join('\n'));
  const policy = asked.policy === null ? undefined : parsePolicy(new TextEncoder().encode(asked.policy));
  const seen = asked.since === null ? [] : [parseKept(asked.since)];
  const options = {
    now: asked.now,
    maxAge: asked.max_age ?? undefined,
    credential: digest(asked.credential) ?? undefined,
    all: asked.all,
  };
  const told = await source(asked)
    .then((bundle) => verify(bundle, { keys, policy, seen }, options))
    .catch((error) => {
      if (error instanceof ContainerError) return unreadable(error.message);
      throw error;
    });
  process.stdout.write(`${inJson(told)}\n`);
}
