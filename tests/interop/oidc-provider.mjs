// A certified OpenID provider (npm `oidc-provider`) on 127.0.0.1, as a CI platform or an identity provider would be one:
// discovery, JWKS, and a token endpoint whose client_credentials tokens are usable as evidence of a `generic` issuer.
//
//   node oidc-provider.mjs --audience URL --cert FILE --key FILE
//        [--port 0] [--host 127.0.0.1] [--alg ES256|RS256] [--ttl SECONDS] [--claim NAME=VALUE]...
//
// The audience is the one `aud` of every token. Tokens have typ JWT, `jti`, `iat`, `exp`, `sub` and each --claim, a
// string. Without --cert and --key the issuer is plain http.
//
// It talks in JSON, one line each: first {"ready":true,"issuer",…,"kid"}. Then each line on stdin is answered by one:
//   token [CLAIMS]  ->  {"token":"eyJ…"}     asked for at its own token endpoint; CLAIMS is a JSON object, for this token
//   rotate          ->  {"kid":"…"}          a new key signs from now on; the old one is gone from the JWKS
// Anything else: {"error":"…"}. It ends, with status 0, when stdin does.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';

import Provider from 'oidc-provider';

const { values: args } = parseArgs({
  options: {
    alg: { type: 'string', default: 'ES256' },
    audience: { type: 'string' },
    cert: { type: 'string' },
    claim: { type: 'string', multiple: true, default: [] },
    host: { type: 'string', default: '127.0.0.1' },
    key: { type: 'string' },
    port: { type: 'string', default: '0' },
    ttl: { type: 'string', default: '300' },
  },
});
if (!args.audience) throw new Error('--audience is required');

// stdout is ours: the provider's own remarks go elsewhere.
console.info = console.error;

const secure = Boolean(args.cert && args.key);
const tls = secure ? { cert: readFileSync(args.cert), key: readFileSync(args.key) } : {};
const fixed = Object.fromEntries(args.claim.map((pair) => {
  const cut = pair.indexOf('=');
  return [pair.slice(0, cut), pair.slice(cut + 1)];
}));
const client = { id: 'ci', secret: randomBytes(24).toString('base64url') };
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

// The issuer names its port, so the socket comes first and the provider after it.
let handle;
const server = (secure ? https : http).createServer(tls, (request, response) => handle(request, response));
await new Promise((resolve, reject) => {
  server.once('error', reject).listen(Number(args.port), '127.0.0.1', resolve);
});
const issuer = `${secure ? 'https' : 'http'}://${args.host}:${server.address().port}`;
let extra = {};
let kid = rotate();
say({
  ready: true, issuer, token_endpoint: `${issuer}/token`, client_id: client.id, client_secret: client.secret, kid,
});

for await (const line of createInterface({ input: process.stdin })) {
  const [command, rest] = [line.split(' ', 1)[0], line.slice(line.indexOf(' ') + 1)];
  try {
    if (command === 'token') {
      extra = line.includes(' ') ? JSON.parse(rest) : {};
      say(await token());
    } else if (command === 'rotate') {
      kid = rotate();
      say({ kid });
    } else {
      say({ error: `unknown command ${command}` });
    }
  } catch (error) {
    say({ error: String(error) });
  }
}
server.closeAllConnections();
server.close();

/** Starts a provider whose JWKS is one new key, in place of the one before. Returns the key's id. */
function rotate() {
  const pair = args.alg === 'RS256'
    ? generateKeyPairSync('rsa', { modulusLength: 2048 })
    : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = { ...pair.privateKey.export({ format: 'jwk' }), kid: randomBytes(8).toString('hex'), use: 'sig', alg: args.alg };
  const provider = new Provider(issuer, {
    clients: [{
      client_id: client.id,
      client_secret: client.secret,
      grant_types: ['client_credentials'],
      id_token_signed_response_alg: args.alg,
      redirect_uris: [],
      response_types: [],
    }],
    extraTokenClaims: () => ({ ...fixed, ...extra }),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        defaultResource: () => args.audience,
        enabled: true,
        getResourceServerInfo: () => ({
          accessTokenFormat: 'jwt',
          accessTokenTTL: Number(args.ttl),
          audience: args.audience,
          jwt: { sign: { alg: args.alg } },
          scope: '',
        }),
      },
    },
    formats: {
      // By itself it writes typ at+jwt, which is never evidence: an access token is for the resource it names.
      customizers: { jwt: (_ctx, _token, parts) => { parts.header = { typ: 'JWT' }; } },
    },
    jwks: { keys: [jwk] },
  });
  handle = provider.callback();
  return jwk.kid;
}

/** One token, from the token endpoint, over the network as any client would get it. */
async function token() {
  const form = new URLSearchParams({ grant_type: 'client_credentials', resource: args.audience }).toString();
  const answer = await new Promise((resolve, reject) => {
    const request = (secure ? https : http).request(`${issuer}/token`, {
      auth: `${client.id}:${client.secret}`,
      headers: { 'content-length': form.length, 'content-type': 'application/x-www-form-urlencoded' },
      method: 'POST',
      // Its own certificate, from a root only the test knows.
      rejectUnauthorized: false,
    }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (part) => { body += part; }).on('end', () => resolve(JSON.parse(body)));
    });
    request.once('error', reject).end(form);
  });
  return answer.access_token ? { token: answer.access_token } : { error: JSON.stringify(answer) };
}
