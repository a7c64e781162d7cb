// On every page: times that keep on telling how far away they are, copy buttons, the keys of a list, and the one way to
// change something. A page is whole without this file.

const byId = (id) => document.getElementById(id);

/** Says it to those who listen. */
export function say(text) {
  byId('said').textContent = '';
  requestAnimationFrame(() => { byId('said').textContent = text; });
}

/** A state as a word with a shape, as the server makes it: `kind` is one of good wait bad off warn note. */
export function badge(kind, word) {
  const made = document.createElement('span');
  const icon = document.querySelector('svg.icon').cloneNode(true);
  const use = icon.querySelector('use');
  made.className = `badge ${kind}`;
  icon.setAttribute('class', 'icon');
  use.setAttribute('href', use.getAttribute('href').replace(/#.*$/, `#${kind}`));
  made.append(icon, word);
  return made;
}

/** A refusal of the API, RFC 9457. */
export class Problem extends Error {
  constructor(document) {
    super(document.detail ?? document.title ?? 'the broker did not answer');
    this.code = document.code ?? 'unavailable';
    this.next = document.next_action ?? null;
  }
}

/** POSTs JSON to the API; gives its answer, or throws a Problem. */
export async function call(path, body = {}) {
  let answer;
  try {
    answer = await fetch(path, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
      body: JSON.stringify(body),
      redirect: 'error',
    });
  } catch {
    throw new Problem({ detail: 'The broker could not be reached. Nothing was changed, as far as this page knows.' });
  }
  const text = await answer.text();
  let value = {};
  try {
    value = text === '' ? {} : JSON.parse(text);
  } catch {
    value = {};
  }
  if (!answer.ok) throw new Problem(value);
  return value;
}

/** `12 min`, in at most two units: as the server says it. */
export function length(seconds) {
  const [minutes, hours, days] = [60, 3600, 86400].map((unit) => Math.floor(seconds / unit));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 300 && seconds % 60 !== 0) return `${minutes} min ${seconds % 60} s`;
  if (seconds < 3600) return `${minutes} min`;
  if (seconds < 86400) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return days < 3 && hours % 24 !== 0 ? `${days} d ${hours % 24} h` : `${days} d`;
}

// The server's clock, as of the load: a laptop's own may be wrong.
const loaded = Date.now();
const served = Date.parse(document.querySelector('meta[name="served"]')?.content ?? '') || loaded;

/** The time at the server, in milliseconds. */
export function now() {
  return served + (Date.now() - loaded); // a laptop that slept has missed that time by other clocks
}

function away(at) {
  const seconds = Math.floor((now() - at) / 1000);
  if (seconds < 0) return `in ${length(-seconds)}`;
  return seconds < 10 ? 'just now' : `${length(seconds)} ago`;
}

function tick() {
  for (const element of document.querySelectorAll('[data-at]')) {
    const text = `(${away(Date.parse(element.dataset.at))})`;
    if (element.textContent !== text) element.textContent = text;
  }
}

async function copy(button) {
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.dataset.done = '';
    setTimeout(() => { delete button.dataset.done; }, 1500);
    say('Copied');
  } catch {
    say('The browser did not let this page copy');
  }
}

document.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (button?.dataset.copy !== undefined) copy(button);
  if (button?.dataset.keys !== undefined) byId('keys').showModal();
});

const KEYS = 'stint-keys';
const remembered = () => {
  try {
    return localStorage.getItem(KEYS);
  } catch {
    return null;
  }
};

/** The next or previous row of the list that has the focus, or the first. */
function step(by) {
  const items = [...document.querySelectorAll('[data-item]')];
  const at = items.indexOf(document.activeElement);
  items[at < 0 ? 0 : Math.min(Math.max(at + by, 0), items.length - 1)]?.focus();
}

const BY_KEY = {
  '/': () => document.querySelector('[data-search]')?.focus(),
  '?': () => byId('keys').showModal(),
  j: () => step(1),
  k: () => step(-1),
};

// WCAG 2.1.4: keys of one character can be switched off.
document.addEventListener('keydown', (event) => {
  const writes = event.target.closest?.('input, textarea, select, dialog, [contenteditable]');
  if (writes || event.ctrlKey || event.metaKey || event.altKey || remembered() === 'off') return;
  const act = BY_KEY[event.key];
  if (act === undefined) return;
  event.preventDefault();
  act();
});

const on = byId('keys-on');
on.checked = remembered() !== 'off';
on.addEventListener('change', () => {
  try {
    localStorage.setItem(KEYS, on.checked ? 'on' : 'off');
  } catch {
    // A browser that keeps nothing has the keys.
  }
});

tick();
setInterval(tick, 1000);
