// Verifies a JWT by a key set, offline, with npm `jose`, as a relying party that federates to us would.
//
//   node jose-offline.mjs  <{"token", "jwks", "iss", "aud", "algorithms", "now"}
//
// Prints {"ok":true,"header","claims"} and exits 0, or {"ok":false,"error"} and exits 1.

import { readFileSync } from 'node:fs';

import { createLocalJWKSet, jwtVerify } from 'jose';

const given = JSON.parse(readFileSync(0, 'utf8'));
try {
  const { payload, protectedHeader } = await jwtVerify(given.token, createLocalJWKSet(given.jwks), {
    algorithms: given.algorithms,
    audience: given.aud,
    // The test's clock is not this machine's.
    currentDate: new Date(given.now * 1000),
    issuer: given.iss,
    requiredClaims: ['sub', 'exp', 'iat'],
    typ: 'JWT',
  });
  console.log(JSON.stringify({ ok: true, header: protectedHeader, claims: payload }));
} catch (error) {
  console.log(JSON.stringify({ ok: false, error: error.code ?? error.message }));
  process.exitCode = 1;
}
