// What an auditor is handed: plain files, in a zip or a folder (LEDGER.md §11). Nothing in a manifest is evidence: it says
// where to look, and all counts by hash against the root.

import { digest, isDigest } from './base64.js';
import { decimal } from './checkpoint.js';
import { JsonError, parseWithTwins, unsigned } from './json.js';

export const MANIFEST = 'manifest.json';
export const CHECKPOINT = 'checkpoint';
export const PROOF = 'proof.json';
export const HEADERS = 'headers.jsonl';
export const BODIES = 'bodies.tsv';
export const OPENINGS = 'openings.tsv';
export const RECEIPTS = 'receipts/';

const FILES = new Set([
  'README.txt', BODIES, CHECKPOINT, HEADERS, MANIFEST, OPENINGS, PROOF, 'verify.html',
]);
const FOLDERS = ['handover/', 'policies/', RECEIPTS, 'trust/'];
const MAX_NAME = 255;

/** Longest manifest, checkpoint, proof or receipt, bytes. */
const MAX_SMALL_FILE = 1 << 20;

/**
 * A file of a bundle, read from its beginning.
 * @typedef {object} Stream
 * @property {() => Promise<Uint8Array | null>} read the next bytes; `null` at the end
 * @property {() => void} close
 */

/**
 * Where a bundle is read from.
 * @typedef {object} BundleSource
 * @property {string[]} names of all files, ascending
 * @property {(name: string) => Stream | null} open `null` if there is none
 */

/** What holds the files is no bundle, or breaks off: nothing in it counts. */
export class ContainerError extends Error {
  /** @param {string} why */
  constructor(why) {
    super(`not a bundle: ${why}`);
  }
}

/** A file that has not its form. */
export class FileError extends Error {}

/**
 * Whether a bundle has a file of this name: no way out, nothing foreign, nothing a shell or a system reads otherwise.
 * @param {string} name
 */
export function isBundleFile(name) {
  return name.length <= MAX_NAME
    && /^[A-Za-z0-9._/-]+$/.test(name)
    && name.split('/').every((part) => part !== '' && !part.startsWith('.'))
    && (FILES.has(name) || FOLDERS.some((folder) => name.startsWith(folder)));
}

/**
 * A bundle as separate files: an unpacked one. Other people's files beside it stay out.
 * @param {Map<string, Blob>} files
 * @returns {BundleSource}
 */
export function folder(files) {
  const names = [...files.keys()].filter(isBundleFile).sort();
  return {
    names,
    open(name) {
      if (!names.includes(name)) return null;
      const reader = files.get(name).stream().getReader();
      return {
        read: async () => (await reader.read()).value ?? null,
        close: () => void reader.cancel().catch(() => {}),
      };
    },
  };
}

/**
 * A whole small file.
 * @param {BundleSource} source
 * @param {string} name
 * @returns {Promise<Uint8Array>}
 * @throws {FileError | ContainerError}
 */
export async function smallFile(source, name) {
  const stream = source.open(name);
  if (stream === null) throw new FileError(`not a bundle: ${name} is missing`);
  const chunks = [];
  let length = 0;
  for (let chunk = await stream.read(); chunk !== null; chunk = await stream.read()) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > MAX_SMALL_FILE) {
      stream.close();
      throw new FileError(`${name} is longer than ${MAX_SMALL_FILE} bytes`);
    }
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/**
 * @typedef {object} Manifest
 * @property {string} log
 * @property {number | bigint} from
 * @property {number | bigint} to
 * @property {number | bigint} size
 * @property {{kinds?: Set<string>, who?: Set<string>} | undefined} promise
 */

/**
 * `manifest.json`. Members that are not known are left alone; those that are known are there once, and of their type.
 * @param {Uint8Array} bytes
 * @returns {Manifest}
 * @throws {FileError}
 */
export function parseManifest(bytes) {
  const file = new Form(bytes, MANIFEST);
  const members = file.object(file.value, ['v', 'log', 'epoch', 'from', 'to', 'size', 'made_at', 'promise', 'filter', 'files']);
  const count = (name) => file.need(unsigned(members.get(name)));
  const v = count('v');
  const manifest = {
    log: file.need(text(members.get('log'))),
    from: count('from'),
    to: count('to'),
    size: count('size'),
    promise: promise(file, members.get('promise')),
  };
  count('epoch');
  count('made_at');
  claims(file, members.get('files'));
  if (v !== 1) throw new FileError(`manifest version ${v} is not known`);
  return manifest;
}

function promise(file, value) {
  if (value === undefined || value === null) return undefined;
  const members = file.object(value, ['kinds', 'who']);
  return { kinds: words(file, members.get('kinds'), isText), who: words(file, members.get('who'), isDigest) };
}

function words(file, value, isWord) {
  if (value === undefined || value === null) return undefined;
  return new Set(file.need(Array.isArray(value) && value.every(isWord) ? value : undefined));
}

/** Lengths and hashes of the files: claims, on which nothing here rests, but they have a form. */
function claims(file, value) {
  if (value === undefined) return;
  for (const claim of file.need(Array.isArray(value) ? value : undefined)) {
    const members = file.object(claim, ['name', 'length', 'hash']);
    file.need(text(members.get('name')));
    file.need(unsigned(members.get('length')));
    file.need(isDigest(members.get('hash')) ? true : undefined);
  }
}

/**
 * `proof.json`: what ties the range to the checkpoint.
 * @param {Uint8Array} bytes
 * @returns {{left: Uint8Array[], right: Uint8Array[], since: Map<number, Uint8Array[]>}}
 * @throws {FileError}
 */
export function parseProofs(bytes) {
  const file = new Form(bytes, PROOF);
  const members = file.object(file.value, ['left', 'right', 'since']);
  for (const name of members.keys()) file.need(['left', 'right', 'since'].includes(name) ? true : undefined);
  const digests = (list) => file.need(Array.isArray(list) && list.every(isDigest) ? list : undefined).map(digest);
  const since = new Map();
  if (members.has('since')) {
    for (const [size, proof] of file.object(members.get('since'), [])) {
      since.set(file.need(decimal(size) ?? undefined), digests(proof));
    }
  }
  return { left: digests(members.get('left')), right: digests(members.get('right')), since };
}

/** A JSON file that is held to its form. */
class Form {
  constructor(bytes, name) {
    this.name = name;
    try {
      ({ value: this.value, twins: this.twins } = parseWithTwins(bytes));
    } catch (error) {
      if (error instanceof JsonError) throw new FileError(`${name} is unreadable: ${error.message}`);
      throw error;
    }
  }

  need(value) {
    if (value === undefined) throw new FileError(`${this.name} has not its form`);
    return value;
  }

  /** An object that has none of `names` twice. */
  object(value, names) {
    const members = this.need(value instanceof Map ? value : undefined);
    const twins = this.twins.get(members) ?? [];
    this.need(twins.some((name) => names.includes(name)) ? undefined : true);
    return members;
  }
}

function isText(value) {
  return typeof value === 'string';
}

function text(value) {
  return isText(value) ? value : undefined;
}
