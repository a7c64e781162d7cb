// A bundle as a zip (LEDGER.md §11), read where it lies: nothing is unpacked, so memory does not grow with the bundle.
//
// The profile is narrow on purpose, since two readers of a loose zip see two different bundles: stored or deflated, no
// encryption, no data descriptors, no comment, fixed ASCII names, none twice, local and central headers equal, no extra
// field but zip64's, and every byte up to the directory belongs to exactly one entry. All of it is checked before the
// first file is opened. Numbers of sections are those of PKWARE's APPNOTE.

import { ContainerError, isBundleFile } from './bundle.js';

/** A bundle has a few files and one per receipt and policy file; more is somebody's trick. */
const MAX_FILES = 65_536;
/** The central directory of so many files. */
const MAX_DIRECTORY = 16 * 1024 * 1024;

const END = 22;
const LOCATOR = 20;
const END64 = 56;
const LOCAL = 30;

const NARROW16 = 0xffff;
const NARROW32 = 0xffff_ffff;
/** Remarks of a deflater (bits 1 and 2), and that names are UTF-8 (11). All others change what the bytes mean. */
const HARMLESS_FLAGS = 0b1000_0000_0110;

const STORED = 0;
const DEFLATED = 8;

/** Zip headers: little-endian fields, one after the other. */
class Fields {
  constructor(bytes) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.bytes = bytes;
    this.at = 0;
  }

  get left() {
    return this.bytes.length - this.at;
  }

  advance(n) {
    if (n > this.left) throw new ContainerError('it is cut off within a header');
    this.at += n;
    return this.at - n;
  }

  u16() {
    return this.view.getUint16(this.advance(2), true);
  }

  u32() {
    return this.view.getUint32(this.advance(4), true);
  }

  u64() {
    const value = this.view.getBigUint64(this.advance(8), true);
    // What is larger than any file can be is a bad place or length, whichever it is.
    return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);
  }

  take(n) {
    const from = this.advance(n);
    return this.bytes.subarray(from, from + n);
  }

  signature(expected) {
    if (this.u32() !== expected) throw new ContainerError('it is no zip, or it is cut off');
  }
}

/**
 * Opens a zip.
 * @param {Blob} blob
 * @returns {Promise<import('./bundle.js').BundleSource>}
 * @throws {ContainerError}
 */
export async function openZip(blob) {
  const directory = await findDirectory(blob);
  const fields = new Fields(await bytesAt(blob, directory.at, directory.size));
  const entries = new Map();
  const spans = [];
  for (let i = 0; i < directory.count; i++) {
    const header = centralHeader(fields);
    const entry = await checkLocal(blob, header);
    if (entries.has(header.name)) throw new ContainerError(`\`${header.name}\` is in it twice`);
    entries.set(header.name, entry);
    spans.push([header.at, entry.end]);
  }
  if (fields.left > 0) throw new ContainerError('its directory holds more than it says');
  tile(spans, directory.at);
  return {
    names: [...entries.keys()].sort(),
    open: (name) => (entries.has(name) ? stream(blob, entries.get(name)) : null),
  };
}

/** Every byte before the directory belongs to one entry. */
function tile(spans, end) {
  spans.sort(([a], [b]) => a - b);
  let at = 0;
  for (const [from, to] of [...spans, [end, end]]) {
    if (from < at) throw new ContainerError('its entries overlap');
    if (from > at) throw new ContainerError('it has bytes that no entry names');
    at = to;
  }
}

async function bytesAt(blob, at, length) {
  if (at + length > blob.size) throw new ContainerError('it is cut off');
  return new Uint8Array(await blob.slice(at, at + length).arrayBuffer());
}

/** The end record (4.3.16) and, where it says so, the zip64 one (4.3.14). Nothing may follow either. */
async function findDirectory(blob) {
  const end = blob.size - END;
  if (end < 0) throw new ContainerError('it is no zip, or it is cut off');
  const narrow = endRecord(new Fields(await bytesAt(blob, end, END)));
  let directory = narrow;
  let follows = end;
  if (narrow.count === NARROW16 || narrow.size === NARROW32 || narrow.at === NARROW32) {
    if (end < LOCATOR) throw new ContainerError('it is no zip, or it is cut off');
    follows = locator(new Fields(await bytesAt(blob, end - LOCATOR, LOCATOR)));
    if (follows + END64 + LOCATOR !== end) throw new ContainerError('its end is not where it says');
    directory = endRecord64(new Fields(await bytesAt(blob, follows, END64)));
  }
  if (directory.count > MAX_FILES || directory.size > MAX_DIRECTORY) throw new ContainerError('it has too many files');
  if (directory.at + directory.size !== follows) throw new ContainerError('its directory is not where it says');
  return directory;
}

function endRecord(fields) {
  fields.signature(0x0605_4b50);
  const [disk, directoryDisk, here, count] = [fields.u16(), fields.u16(), fields.u16(), fields.u16()];
  const [size, at, comment] = [fields.u32(), fields.u32(), fields.u16()];
  if (disk !== 0 || directoryDisk !== 0 || here !== count || comment !== 0) {
    throw new ContainerError('it has a comment, or more than one part');
  }
  return { count, size, at };
}

function locator(fields) {
  fields.signature(0x0706_4b50);
  const [disk, at, disks] = [fields.u32(), fields.u64(), fields.u32()];
  if (disk !== 0 || disks !== 1) throw new ContainerError('it has more than one part');
  return at;
}

function endRecord64(fields) {
  fields.signature(0x0606_4b50);
  const rest = fields.u64();
  fields.u32(); // versions
  const [disk, directoryDisk, here, count] = [fields.u32(), fields.u32(), fields.u64(), fields.u64()];
  const [size, at] = [fields.u64(), fields.u64()];
  if (rest !== END64 - 12 || disk !== 0 || directoryDisk !== 0 || here !== count) {
    throw new ContainerError('its end says more than a bundle needs');
  }
  return { count, size, at };
}

/** Flags, method, CRC and sizes, the same in both headers; a time and a date between them say nothing. */
function commonFields(fields) {
  const [flags, method] = [fields.u16(), fields.u16()];
  fields.u32();
  return { flags, method, crc: fields.u32(), packed: fields.u32(), size: fields.u32() };
}

/** 4.3.12. */
function centralHeader(fields) {
  fields.signature(0x0201_4b50);
  fields.u32(); // versions
  const header = commonFields(fields);
  const [name, extra, comment, disk] = [fields.u16(), fields.u16(), fields.u16(), fields.u16()];
  fields.u16();
  fields.u32(); // attributes
  header.at = fields.u32();
  header.name = ascii(fields.take(name));
  widen(fields.take(extra), header, ['size', 'packed', 'at']);
  if (comment !== 0 || disk !== 0) throw new ContainerError('a file in it has a comment or is elsewhere');
  return header;
}

/** The zip64 extra field (4.5.3): what did not fit 32 bits, in order. No other may be there: one renames the file. */
function widen(extra, header, members) {
  const fields = new Fields(extra);
  if (extra.length > 0 && (fields.u16() !== 1 || fields.u16() !== fields.left)) {
    throw new ContainerError('a file in it has a foreign extra field');
  }
  for (const member of members) if (header[member] === NARROW32) header[member] = fields.u64();
}

/** The local header (4.3.7) says the same as the central one; gives the place of the bytes behind it. */
async function checkLocal(blob, header) {
  const refuse = (why) => new ContainerError(`\`${plain(header.name)}\` ${why}`);
  if (!isBundleFile(header.name)) throw refuse('is no file of a bundle');
  if ((header.flags & ~HARMLESS_FLAGS) !== 0) throw refuse('is encrypted or streamed');
  const deflated = header.method === DEFLATED;
  if (!deflated && (header.method !== STORED || header.packed !== header.size)) {
    throw refuse('is packed in a way a bundle never is');
  }
  const fixed = new Fields(await bytesAt(blob, header.at, LOCAL));
  fixed.signature(0x0403_4b50);
  fixed.u16(); // version
  const local = commonFields(fixed);
  const [name, extra] = [fixed.u16(), fixed.u16()];
  const rest = new Fields(await bytesAt(blob, header.at + LOCAL, name + extra));
  local.name = ascii(rest.take(name));
  widen(rest.take(extra), local, ['size', 'packed']);
  const same = ['flags', 'method', 'crc', 'packed', 'size', 'name'].every((member) => local[member] === header[member]);
  if (!same) throw refuse('has two headers that differ');
  const start = header.at + LOCAL + name + extra;
  return { deflated, start, end: start + header.packed, size: header.size };
}

/** Names are ASCII; other bytes give a character no name of ours has. */
function ascii(bytes) {
  return String.fromCharCode(...bytes.map((byte) => (byte < 0x80 ? byte : 0)));
}

function plain(name) {
  return name.replace(/[^ -~]/g, '?');
}

/** A file's bytes, exactly as many as its header says: a bomb ends where that did. */
function stream(blob, entry) {
  let bytes = blob.slice(entry.start, entry.end).stream();
  if (entry.deflated) bytes = bytes.pipeThrough(new DecompressionStream('deflate-raw'));
  const reader = bytes.getReader();
  let left = entry.size;
  const fault = () => new ContainerError('a file in it is not as long as its header says, or is packed falsely');
  return {
    async read() {
      const { done, value } = await reader.read().catch(() => {
        throw fault();
      });
      const length = done ? 0 : value.length;
      left -= length;
      if (left < 0 || (done && left > 0)) {
        reader.cancel().catch(() => {});
        throw fault();
      }
      return done ? null : value;
    },
    close: () => void reader.cancel().catch(() => {}),
  };
}
