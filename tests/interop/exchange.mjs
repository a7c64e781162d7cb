// Exchanges a token at the broker with somebody else's OAuth client, which knows nothing of Stint: npm `openid-client` or
// `oauth4webapi`, discovery first, then RFC 8693, with a DPoP key of its own if told so.
//
//   node exchange.mjs --client openid-client|oauth4webapi --issuer URL --client-id ID [--algorithm oidc|oauth2] [--dpop]
//     <{"subject_token": …, …}   the parameters, without grant_type
//
// Prints {"ok":true,"response":…,"jkt":…} and exits 0, or {"ok":false,"error","status","description"} and exits 1.

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

import { calculateJwkThumbprint, exportJWK } from 'jose';
import * as oauth from 'oauth4webapi';
import * as client from 'openid-client';

const GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange';

const { values: args } = parseArgs({
  options: {
    algorithm: { type: 'string', default: 'oidc' },
    client: { type: 'string' },
    'client-id': { type: 'string' },
    dpop: { type: 'boolean', default: false },
    issuer: { type: 'string' },
  },
});
const parameters = JSON.parse(readFileSync(0, 'utf8'));
const issuer = new URL(args.issuer);
// The test's broker is on loopback, in the clear.
const clear = { [oauth.allowInsecureRequests]: true };

async function keys() {
  return args.dpop ? oauth.generateKeyPair('ES256', { extractable: true }) : undefined;
}

async function byOpenidClient(pair) {
  const config = await client.discovery(issuer, args['client-id'], undefined, client.None(), {
    algorithm: args.algorithm,
    execute: [client.allowInsecureRequests],
  });
  const DPoP = pair && client.getDPoPHandle(config, pair);
  return client.genericGrantRequest(config, GRANT, parameters, { DPoP });
}

async function byOauth4webapi(pair) {
  const found = await oauth.discoveryRequest(issuer, { algorithm: args.algorithm, ...clear });
  const as = await oauth.processDiscoveryResponse(issuer, found);
  const me = { client_id: args['client-id'] };
  const DPoP = pair && oauth.DPoP(me, pair);
  const answer = await oauth.genericTokenEndpointRequest(as, me, oauth.None(), GRANT, parameters, { DPoP, ...clear });
  const recognizedTokenTypes = { n_a: () => {} };
  return oauth.processGenericTokenEndpointResponse(as, me, answer, { recognizedTokenTypes });
}

try {
  const pair = await keys();
  const response = args.client === 'openid-client' ? await byOpenidClient(pair) : await byOauth4webapi(pair);
  const jkt = pair && await calculateJwkThumbprint(await exportJWK(pair.publicKey));
  console.log(JSON.stringify({ ok: true, response, jkt }));
} catch (error) {
  console.log(JSON.stringify({
    ok: false, error: error.error ?? error.code, status: error.status, description: error.error_description ?? error.message,
  }));
  process.exitCode = 1;
}
