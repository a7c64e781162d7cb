// A request that goes on while it is looked at: a vote of somebody else, the end of its time, another policy. What became
// of it is put in its place; what an approver typed stays; and the facts under a vote are never changed but by a button
// that says so.

import { now, say } from './page.js';
import { own, read, refresh, watch, words } from './live.js';

const byId = (id, page = document) => page.getElementById(id);
const TOLD = ['standing', 'came', 'needs', 'timeline'];
let seen = null;

/** The rows that are signed, and under which policy. */
const facts = (page) => [...byId('facts', page).querySelectorAll('th, td')].map((cell) => cell.textContent);
const policy = (page) => byId('booth', page).dataset.pol;
const same = (one, other) => one.length === other.length && one.every((text, at) => text === other[at]);

/** Puts a part in place, and the focus back where it was in it; whether it is another. */
function tell(id, fresh) {
  const [here, there] = [byId(id), byId(id, fresh)];
  if (there === null || words(here) === words(there)) return false;
  const focused = here.contains(document.activeElement) ? document.activeElement.id : '';
  here.replaceChildren(...own(there));
  here.dataset.ends = there.dataset.ends ?? '';
  if (focused !== '') byId(focused)?.focus();
  return true;
}

/** A button is off for a reason of its own, or with all of the booth; what is in the form stays as it is. */
function button(name, shut, reason) {
  byId(name).disabled = shut || reason !== '';
  const line = byId(`${name}-why`);
  if (line === null) return;
  line.hidden = shut || reason === '';
  line.lastElementChild.textContent = reason;
}

/** Why this reader cannot say yes any more. */
function reason(fresh) {
  const line = byId('yes-why', fresh);
  return line === null || line.hidden ? '' : line.textContent.trim();
}

/** Why nobody votes here any more; nothing, where somebody does. */
function over(fresh) {
  if (byId('ballot', fresh) !== null) return '';
  const end = byId('outcome', fresh)?.querySelector('strong')?.textContent ?? byId('why', fresh)?.textContent.trim();
  return `${end ?? 'Nothing is left to decide here'}. What you typed was not sent, and stays until you leave.`;
}

function booth(fresh) {
  if (byId('ballot') === null) {
    byId('booth').replaceChildren(...own(byId('booth', fresh)));
    return '';
  }
  // A passkey is being asked: what it signs was held against this page, and the broker has the last word.
  if (byId('ballot').hasAttribute('aria-busy')) return '';
  const ended = over(fresh);
  const stale = ended === '' && !(same(facts(document), facts(fresh)) && policy(document) === policy(fresh));
  byId('over').hidden = ended === '';
  byId('over').lastElementChild.textContent = ended;
  byId('stale').hidden = !stale;
  const shut = stale || ended !== '';
  button('yes', shut, shut ? '' : reason(fresh));
  button('no', shut, '');
  return stale ? 'What you would sign is not what it was: look at it again before you decide.' : '';
}

/** The newest thing that happened, in words. */
function newest(fresh) {
  const [here, there] = [document, fresh].map((page) => [...byId('timeline', page).querySelectorAll('li')]);
  const added = there.slice(here.length).map((item) => item.querySelector('p').textContent.trim());
  return added.length > 0 ? `${added.join('. ')}.` : '';
}

function take(fresh) {
  seen = fresh;
  const said = newest(fresh);
  const changed = TOLD.map((id) => tell(id, fresh)).includes(true);
  const warned = booth(fresh);
  expire();
  if (warned !== '') return warned;
  return said === '' && changed ? 'The request was brought up to date.' : said;
}

/** Shows what would be signed now. What was typed stays. */
function accept(fresh) {
  byId('facts').replaceChildren(...own(byId('facts', fresh)));
  byId('booth').dataset.pol = policy(fresh);
  booth(fresh);
  byId('facts-title').focus();
  say('These are the facts as they are now');
}

/** Looks again, because somebody asked for it. */
export async function look() {
  try {
    const fresh = await read();
    take(fresh);
    accept(fresh);
  } catch {
    location.reload();
  }
}

let timer;

/** Time ends it as well: nobody sends word of that at once. */
function expire() {
  clearTimeout(timer);
  const ends = Date.parse(byId('standing').dataset.ends);
  if (ends > now()) timer = setTimeout(() => refresh(['requests']), Math.min(ends - now() + 500, 2 ** 31 - 1));
}

byId('look')?.addEventListener('click', () => (seen === null ? look() : accept(seen)));
watch(['requests', 'grants', 'policy'], take);
expire();
