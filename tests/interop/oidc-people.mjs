// A certified OpenID provider (npm `oidc-provider`) on 127.0.0.1, as the identity provider of a company: people, groups,
// authorization code with PKCE, for one confidential client.
//
//   node oidc-people.mjs --redirect URI --cert FILE --key FILE [--alg ES256|RS256]
//
// Who signs in at its page is whoever the path names: /interaction/UID/as/NAME; /interaction/UID/no turns back. It talks
// in JSON, one line each: first {"ready":true,"issuer",…}. Then each line on stdin is answered by one:
//   rotate   ->  {"kid":"…"}   a new key signs from now on; the old one is gone from the JWKS
// It ends, with status 0, when stdin does.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';

import Provider from 'oidc-provider';

const { values: args } = parseArgs({
  options: {
    alg: { type: 'string', default: 'ES256' },
    cert: { type: 'string' },
    key: { type: 'string' },
    redirect: { type: 'string' },
  },
});

// stdout is ours: the provider's own remarks go elsewhere.
console.info = console.error;

const people = {
  dana: { name: 'Dana Ortiz', email: 'dana@acme.dev', email_verified: true, groups: ['sre'] },
  kim: { name: 'Kim Ruiz', email: 'kim@acme.dev', email_verified: false, groups: ['developer'] },
};
const client = { id: 'stint', secret: randomBytes(24).toString('base64url') };
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

// The issuer names its port, so the socket comes first and the provider after it.
let handle;
const tls = { cert: readFileSync(args.cert), key: readFileSync(args.key) };
const server = https.createServer(tls, (request, response) => handle(request, response));
await new Promise((resolve, reject) => {
  server.once('error', reject).listen(0, '127.0.0.1', resolve);
});
const issuer = `https://127.0.0.1:${server.address().port}`;
const kept = new Map();
rotate();
say({ ready: true, issuer, client_id: client.id, client_secret: client.secret });

for await (const line of createInterface({ input: process.stdin })) {
  say(line === 'rotate' ? { kid: rotate() } : { error: `unknown command ${line}` });
}
server.closeAllConnections();
server.close();

/** Starts a provider whose JWKS is one new key, in place of the one before. What it remembers of people it keeps. */
function rotate() {
  const pair = args.alg === 'RS256'
    ? generateKeyPairSync('rsa', { modulusLength: 2048 })
    : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = { ...pair.privateKey.export({ format: 'jwk' }), kid: randomBytes(8).toString('hex'), use: 'sig', alg: args.alg };
  const provider = new Provider(issuer, {
    claims: { email: ['email', 'email_verified'], openid: ['sub', 'groups'], profile: ['name'] },
    clients: [{
      client_id: client.id,
      client_secret: client.secret,
      grant_types: ['authorization_code'],
      id_token_signed_response_alg: args.alg,
      redirect_uris: [args.redirect],
      response_types: ['code'],
    }],
    // Claims stand in the ID token itself: nobody asks userinfo.
    conformIdTokenClaims: false,
    cookies: { keys: [keep('cookies', () => randomBytes(16).toString('hex'))] },
    features: { devInteractions: { enabled: false } },
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id, ...people[id] }) }),
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    jwks: { keys: [jwk] },
    // The company's own client: nobody is asked whether they consent.
    async loadExistingGrant(ctx) {
      const grant = new ctx.oidc.provider.Grant({ accountId: ctx.oidc.session.accountId, clientId: ctx.oidc.client.clientId });
      grant.addOIDCScope('openid profile email');
      await grant.save();
      return grant;
    },
    pkce: { required: () => true },
    scopes: ['openid', 'profile', 'email'],
    ttl: { Interaction: 600, Session: 3600, Grant: 3600 },
  });
  const callback = provider.callback();
  handle = async (request, response) => {
    const [, page, , act, name] = request.url.split('/');
    if (page !== 'interaction' || !act) return callback(request, response);
    const result = act === 'as' && people[name]
      ? { login: { accountId: name } }
      : { error: 'access_denied', error_description: 'they turned back' };
    return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
  };
  return jwk.kid;
}

function keep(name, make) {
  if (!kept.has(name)) kept.set(name, make());
  return kept.get(name);
}
