// A peer that does a part of what Stint does: npm `oidc-provider`, a certified OpenID provider, hands out ES256 JWTs for
// RS256 client assertions (RFC 7523). It decides nothing, records nothing and forgets all at its end.
//
//   node peer.mjs COUNT
//
// It prints one JSON line {"port", "requests": [COUNT texts of HTTP/1.1 requests]} and serves until stdin ends.

import { createSign, generateKeyPairSync, randomUUID } from 'node:crypto';
import http from 'node:http';

const { default: Provider } = await import(new URL('../interop/node_modules/oidc-provider/lib/index.js', import.meta.url));

console.info = console.error;
console.warn = console.error;

let handle;
const server = http.createServer((request, response) => handle(request, response));
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const audience = 'https://deploy.example';
const provider = new Provider(issuer, {
  clients: [{
    client_id: 'ci',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    id_token_signed_response_alg: 'ES256',
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: 'RS256',
    jwks: { keys: [{ ...rsa.publicKey.export({ format: 'jwk' }), kid: 'ci', use: 'sig', alg: 'RS256' }] },
  }],
  jwks: { keys: [{ ...ec.privateKey.export({ format: 'jwk' }), kid: 'p', use: 'sig', alg: 'ES256' }] },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      getResourceServerInfo: () => ({ scope: 'deploy', audience, accessTokenFormat: 'jwt', accessTokenTTL: 300, jwt: { sign: { alg: 'ES256' } } }),
    },
  },
});
handle = provider.callback();

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const assertion = () => {
  const now = Math.floor(Date.now() / 1000);
  const input = `${encode({ alg: 'RS256', kid: 'ci', typ: 'JWT' })}.${encode({
    iss: 'ci', sub: 'ci', aud: issuer, jti: randomUUID(), iat: now, exp: now + 300,
  })}`;
  return `${input}.${createSign('RSA-SHA256').update(input).sign(rsa.privateKey, 'base64url')}`;
};
const requests = Array.from({ length: Number(process.argv[2]) }, () => {
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    scope: 'deploy',
    resource: audience,
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: assertion(),
  }).toString();
  return `POST /token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
});
process.stdout.write(`${JSON.stringify({ port: server.address().port, requests })}\n`);
process.stdin.on('end', () => process.exit(0)).resume();
