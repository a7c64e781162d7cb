// Keys of this job: one for the certificate, with the request that says nothing but the key, and one that proves that
// all calls come from here (DPoP, RFC 9449). Both are made by node:crypto and never leave this machine.

import { X509Certificate, createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';

import { Failure } from './runner.mjs';

/** A P-256 key and its certificate request (RFC 2986), both PEM. */
export function certificateKey() {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  // Version 0, an empty name, the key, no attributes: the grant alone decides the rest.
  const info = sequence(der(0x02, Buffer.from([0])), sequence(), spki, der(0xa0));
  const signature = sign('sha256', info, { key: privateKey, dsaEncoding: 'der' });
  const request = sequence(info, sequence(ECDSA_WITH_SHA256), der(0x03, Buffer.from([0]), signature));
  return {
    csr: pem('CERTIFICATE REQUEST', request),
    key: privateKey.export({ format: 'pem', type: 'pkcs8' }),
    privateKey,
  };
}

/** The one certificate that the broker sent; a second in the same text would be one that nobody looks at. */
export function certificate(text) {
  try {
    if (text.split('-----BEGIN').length !== 2) throw new Error('several');
    return new X509Certificate(text);
  } catch {
    throw new Failure('a certificate of the broker\'s cannot be read');
  }
}

/** 1.2.840.10045.4.3.2 (RFC 5758 §3.2), DER. */
const ECDSA_WITH_SHA256 = Buffer.from('06082a8648ce3d040302', 'hex');

function sequence(...parts) {
  return der(0x30, ...parts);
}

/** Tag, length, content (X.690 §8.1): lengths up to 127 in one byte, up to 65535 in three. */
function der(tag, ...parts) {
  const content = Buffer.concat(parts);
  const { length } = content;
  const head = length < 128 ? [tag, length]
    : length < 256 ? [tag, 0x81, length]
      : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), content]);
}

function pem(label, bytes) {
  const lines = bytes.toString('base64').match(/.{1,64}/g).join('\n');
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}

/** Proves one key on every call. */
export class Session {
  #key;
  #header;

  constructor() {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const { crv, kty, x, y } = publicKey.export({ format: 'jwk' });
    this.#key = privateKey;
    this.#header = encode({ alg: 'ES256', jwk: { crv, kty, x, y }, typ: 'dpop+jwt' });
  }

  /** A proof for one POST to `url` with `token`; `now` in seconds since 1970. */
  proof(url, token, now) {
    const ath = createHash('sha256').update(token).digest('base64url');
    const claims = { ath, htm: 'POST', htu: url, iat: now, jti: randomBytes(16).toString('base64url') };
    const text = `${this.#header}.${encode(claims)}`;
    const signature = sign('sha256', Buffer.from(text), { key: this.#key, dsaEncoding: 'ieee-p1363' });
    return `${text}.${signature.toString('base64url')}`;
  }
}

function encode(json) {
  return Buffer.from(JSON.stringify(json)).toString('base64url');
}
