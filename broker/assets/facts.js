// Facts as bytes, and bytes as text: what a passkey signs of a vote, `SHA-256("stint/vote/v1\n" ‖ nonce ‖ JCS(facts))`.

/** Base64url without padding. */
export function encode(bytes) {
  const text = Array.from(new Uint8Array(bytes), (byte) => String.fromCharCode(byte)).join('');
  return btoa(text).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}

/** Bytes of base64url. */
export function decode(text) {
  return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (letter) => letter.charCodeAt(0));
}

/** RFC 8785, of what facts are made of: no number but whole ones. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value !== null && typeof value === 'object') {
    const members = Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`);
    return `{${members.join(',')}}`;
  }
  if (typeof value === 'number' && !Number.isSafeInteger(value)) throw new Error('a number that facts do not have');
  return JSON.stringify(value);
}

/** What a passkey signs. */
export async function challenge(nonce, facts) {
  const text = new TextEncoder();
  const parts = [text.encode('stint/vote/v1\n'), nonce, text.encode(canonical(facts))];
  return crypto.subtle.digest('SHA-256', await new Blob(parts).arrayBuffer());
}
