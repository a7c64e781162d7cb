// HTTP as a client of secrets speaks it: TLS or this machine, no redirects, an end to time and size.

/** More than a grant with 64 resources, its chain and its receipt. */
const MAX_ANSWER = 1024 * 1024;

export function get(url, headers, timeout = 30_000) {
  return call(url, { headers }, timeout);
}

export function post(url, headers, body) {
  const json = { 'content-type': 'application/json' };
  return call(url, { body: JSON.stringify(body), headers: { ...headers, ...json }, method: 'POST' }, 30_000);
}

/** https, or http to this very machine. */
export function isSecure(url) {
  const near = ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname);
  return url.protocol === 'https:' || (url.protocol === 'http:' && near);
}

async function call(url, options, timeout) {
  const answer = await fetch(url, { ...options, redirect: 'manual', signal: AbortSignal.timeout(timeout) });
  const chunks = [];
  let size = 0;
  for await (const chunk of answer.body ?? []) {
    size += chunk.length;
    if (size > MAX_ANSWER) throw new Error('the answer is too long');
    chunks.push(chunk);
  }
  let json;
  try {
    json = JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    json = undefined;
  }
  return {
    date: Date.parse(answer.headers.get('date') ?? ''),
    // What to quote to an operator, where no decision has an id of its own.
    id: answer.headers.get('x-request-id'),
    json,
    status: answer.status,
  };
}
