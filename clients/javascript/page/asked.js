// The form: what the auditor chose and brought. What cannot be read is said beside its field, and nothing is checked.

import { folder } from '../src/bundle.js';
import { parseKept } from '../src/checkpoint.js';
import { signedBytes } from '../src/credential.js';
import { parseKeys, parsePolicy } from '../src/trust.js';
import { openZip } from '../src/zip.js';
import { at, visible } from './dom.js';

/** The fields that can be wrong. */
const FIELDS = ['key', 'since', 'trust', 'age', 'credential'];
const HOUR = 3_600_000;

/** The bundle that was chosen: its name, and how to open it. */
let chosen = null;

/**
 * A zip was chosen.
 * @param {File} file
 */
export function chooseFile(file) {
  choose(file.name, () => openZip(file));
}

/**
 * An unpacked bundle was chosen; browsers put the folder's own name before each path.
 * @param {File[]} list
 */
export function chooseFolder(list) {
  const files = new Map(list.map((file) => [file.webkitRelativePath.split('/').slice(1).join('/'), file]));
  choose(`${list[0]?.webkitRelativePath.split('/')[0] ?? ''}/`, async () => folder(files));
}

function choose(name, open) {
  chosen = { name, open };
  at('chosen').textContent = visible(name);
}

/** What is asked; `null`, with the faults said, if it cannot be. */
export function asked() {
  const faults = [];
  const read = (id, parse) => {
    const text = at(id).value;
    say(id, '');
    if (text.trim() === '') return undefined;
    try {
      return parse(text);
    } catch (error) {
      say(id, visible(error.message));
      faults.push(id);
      return undefined;
    }
  };
  const keys = read('key', parseKeys) ?? [];
  const policy = read('trust', (text) => parsePolicy(new TextEncoder().encode(`${text.replace(/\r\n/g, '\n').trimEnd()}\n`)));
  const since = read('since', (text) => parseKept(`${text.replace(/\r\n/g, '\n').trim()}\n`));
  const maxAge = read('age', hours);
  const credential = read('credential', signedBytes);
  at('ask-fault').hidden = chosen !== null;
  at('ask-fault').textContent = chosen === null ? 'Choose a bundle first.' : '';
  if (faults.length > 0) {
    const [first] = FIELDS.filter((id) => faults.includes(id));
    if (first !== 'key') at('more').open = true;
    at(first).focus();
  } else if (chosen === null) {
    at('file').focus();
  }
  if (faults.length > 0 || chosen === null) return null;
  const trust = { keys: [...keys, ...(policy?.logs ?? [])], policy, seen: since ? [since] : [] };
  return { chosen, trust, options: { now: Date.now(), maxAge, credential, all: at('all').checked } };
}

function hours(text) {
  const value = Number(text.trim().replace(',', '.'));
  if (!(value >= 0)) throw new Error('a number of hours, like 24');
  return value * HOUR;
}

function say(id, fault) {
  at(`${id}-fault`).textContent = fault;
  at(`${id}-fault`).hidden = fault === '';
  if (fault === '') at(id).removeAttribute('aria-invalid');
  else at(id).setAttribute('aria-invalid', 'true');
}
