// The job's own token: GitHub gives one for our audience, a new one for each call. It is masked and never written.

import { Failure, mask } from './runner.mjs';
import { get, isSecure } from './http.mjs';

/** A fresh token of this job. */
export async function evidence(audience) {
  const [url, bearer] = [process.env.ACTIONS_ID_TOKEN_REQUEST_URL, process.env.ACTIONS_ID_TOKEN_REQUEST_TOKEN];
  if (!url || !bearer) {
    throw new Failure('this job may not ask GitHub for an ID token', [
      ['next', 'give the job these permissions:'],
      ['', 'permissions:'],
      ['', '  id-token: write'],
      ['', '  contents: read'],
    ]);
  }
  const asked = new URL(url);
  if (!isSecure(asked)) throw new Failure('the URL for ID tokens is neither https nor on this machine');
  asked.searchParams.set('audience', audience);
  const { status, json } = await get(asked, { authorization: `bearer ${bearer}` }, 10_000)
    .catch(() => ({ status: 'no answer' }));
  const token = json?.value;
  if (status !== 200 || typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
    throw new Failure(`GitHub gave no ID token (${status === 200 ? 'its answer cannot be read' : status})`);
  }
  mask(token);
  return token;
}

/** What the broker would refuse this token for, as far as can be seen here: it never says so itself. */
export function judge(token, audience, now) {
  const claims = payload(token);
  if (!claims) return ['this is not a JWT'];
  const found = [];
  const { aud, exp, iat, nbf } = claims;
  if (Array.isArray(aud) && aud.length > 1) found.push('the token is for several audiences');
  else if (String(aud) !== audience) found.push(`the token is for audience \`${aud}\`, the broker wants \`${audience}\``);
  if (exp + 30 <= now) found.push(`the token expired ${now - exp} s ago`);
  if (Math.max(iat ?? 0, nbf ?? 0) - 30 > now) found.push('the token begins later than now, by the broker\'s clock');
  return found.length ? found : ['audience and time are right; its issuer or this repository may not be admitted'];
}

function payload(token) {
  try {
    return JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString());
  } catch {
    return undefined;
  }
}
