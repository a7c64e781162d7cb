// Verifies one of our JWTs as a resource server written by somebody else would (npm `jose`): discovery, JWKS over the
// network, then typ, issuer, audience, times and the claims RFC 9068 §2.2 requires.
//
//   node jose-verify.mjs --issuer URL --audience AUDIENCE [--typ at+jwt]  <TOKEN
//
// A private root comes by NODE_EXTRA_CA_CERTS. Prints {"ok":true,"alg","kid","claims"} and exits 0, or
// {"ok":false,"code","message"} and exits 1; `code` is jose's (ERR_JWT_EXPIRED, ERR_JWS_SIGNATURE_VERIFICATION_FAILED…).

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

import { createRemoteJWKSet, jwtVerify } from 'jose';

const { values: args } = parseArgs({
  options: {
    audience: { type: 'string' },
    issuer: { type: 'string' },
    typ: { type: 'string', default: 'at+jwt' },
  },
});

try {
  const token = readFileSync(0, 'utf8').trim();
  const response = await fetch(`${args.issuer}/.well-known/openid-configuration`, { redirect: 'error' });
  if (!response.ok) throw new Error(`discovery answered ${response.status}`);
  const metadata = await response.json();
  if (metadata.issuer !== args.issuer) throw new Error(`discovery names issuer ${metadata.issuer}`);

  const { payload, protectedHeader } = await jwtVerify(token, createRemoteJWKSet(new URL(metadata.jwks_uri)), {
    algorithms: ['ES256', 'EdDSA', 'RS256'],
    audience: args.audience,
    clockTolerance: 0,
    issuer: args.issuer,
    requiredClaims: args.typ === 'at+jwt' ? ['aud', 'client_id', 'exp', 'iat', 'iss', 'jti', 'sub'] : ['aud', 'exp', 'sub'],
    typ: args.typ,
  });
  // jose takes an audience that is one of several; ours is alone.
  if (payload.aud !== args.audience) throw new Error('aud is not one string');
  console.log(JSON.stringify({
    ok: true, alg: protectedHeader.alg, kid: protectedHeader.kid, claims: payload,
  }));
} catch (error) {
  // fetch hides what went wrong in the cause; jose puts its claims there.
  const message = error.cause instanceof Error ? error.cause.message : error.message;
  console.log(JSON.stringify({ ok: false, code: error.code ?? 'ERROR', message }));
  process.exitCode = 1;
}
