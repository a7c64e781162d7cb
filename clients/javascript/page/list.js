// The searchable list of entries. A search reads the bundle again and stops at a page; it holds no more than it shows.

import { ContainerError } from '../src/bundle.js';
import { search } from '../src/entries.js';
import { KINDS } from '../src/kinds.js';
import { moment } from '../src/report.js';
import { at, element, visible } from './dom.js';
import { breath } from './pace.js';
import { number } from './words.js';

const PAGE = 50;

/** The search that is under way: what it reads, its entries so far, and a mark that a newer one has begun. */
let current = { hits: null, shown: 0 };
let bundle = null;

/**
 * Makes the entries of a bundle searchable.
 * @param {import('../src/bundle.js').BundleSource} source
 * @param {import('../src/report.js').Report} told
 */
export function showEntries(source, told) {
  bundle = { source, told };
  const hint = told.exit === 8
    ? 'As they stand in the file. A check failed, so do not take them for what happened.'
    : 'As they stand in the file. Bodies are there as far as they were disclosed.';
  at('entries-hint').textContent = hint;
  at('entries').hidden = false;
  at('text').value = '';
  at('kind').value = '';
  return find({ text: '', kind: '' });
}

/** Forgets the bundle. */
export function hideEntries() {
  bundle = null;
  current = { hits: null, shown: 0 };
  at('entries').hidden = true;
  at('list').replaceChildren();
}

/**
 * Shows one entry, open.
 * @param {number} seq
 */
export async function lookAt(seq) {
  at('text').value = String(seq);
  at('kind').value = '';
  await find({ text: '', kind: '', seq });
  const details = at('list').querySelector('details');
  if (!details) return;
  details.open = true;
  details.querySelector('summary').focus();
}

/** Fills the kinds, and wires form and button. */
export function startList() {
  const kinds = [...KINDS.keys()].map((kind) => new Option(kind, kind));
  at('kind').append(new Option('any', ''), ...kinds);
  at('find').addEventListener('submit', (event) => {
    event.preventDefault();
    const text = at('text').value.trim();
    const kind = at('kind').value;
    const seq = /^[0-9]{1,15}$/.test(text) && kind === '' ? Number(text) : undefined;
    find({ text, kind, seq });
  });
  at('next').addEventListener('click', () => more());
}

async function find(asked) {
  const { source, told } = bundle;
  const mine = { hits: null, shown: 0 };
  mine.hits = search(source, told.from, asked, () => breath(() => {
    if (current !== mine) throw new Superseded();
  }));
  await current.hits?.return?.();
  current = mine;
  at('list').replaceChildren();
  await more();
}

class Superseded extends Error {}

async function more() {
  const mine = current;
  at('next').hidden = true;
  at('found').textContent = 'Looking …';
  let last = { done: false };
  try {
    for (let i = 0; i < PAGE && !last.done; i++) {
      last = await mine.hits.next();
      if (current !== mine) return;
      if (!last.done) {
        at('list').append(item(last.value));
        mine.shown += 1;
      }
    }
  } catch (error) {
    if (error instanceof Superseded) return;
    if (!(error instanceof ContainerError)) throw error;
    last = { done: true };
  }
  at('next').hidden = last.done;
  at('found').textContent = summary(mine.shown, last.done);
}

function summary(shown, all) {
  if (shown === 0) return 'No entry fits.';
  const count = shown === 1 ? 'One entry.' : `${number(shown)} entries.`;
  return all ? count : `The first ${number(shown)}.`;
}

function item({ seq, header, body }) {
  const value = parsed(header);
  const name = typeof value?.kind === 'string' ? value.kind : 'cannot be read';
  const when = Number.isSafeInteger(value?.ts) ? moment(value.ts) : '';
  const summary = element('summary', '', element('span', 'seq', String(seq)), element('span', 'name', visible(name)), element('span', 'when', when));
  const details = element('details', '', summary);
  details.addEventListener('toggle', () => fill(details, header, body), { once: true });
  return element('li', '', details);
}

/** Headers and bodies are laid out when they are looked at: a page of large ones would take seconds. */
function fill(details, header, body) {
  details.append(element('h3', '', 'Header'), laidOut(header));
  if (body === undefined) details.append(element('h3', '', 'The body is not here: withheld, or erased.'));
  else details.append(element('h3', '', 'Body'), laidOut(body));
}

function laidOut(text) {
  const value = parsed(text);
  const pre = element('pre', '', visible(value === undefined ? text : JSON.stringify(value, null, 2)));
  pre.tabIndex = 0;
  return pre;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
