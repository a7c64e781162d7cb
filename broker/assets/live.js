// Parts of a page that refresh themselves: the broker says what changed, never to what; the page is then read again and
// the parts that show it are put in place of the old ones. A page is right without this file.

import { say } from './page.js';

const parts = () => [...document.querySelectorAll('[data-live]')];
const state = document.getElementById('live-state');
const watchers = [];
let reading = false;
let again = new Set();

function paused(text) {
  if (state === null) return;
  state.hidden = text === '';
  if (state.textContent !== text) state.textContent = text;
}

const PAUSED = 'Live updates paused. What you see is as of the load; reload for more.';
const OVER = 'Your session is over, and this page has stopped following. Sign in again to go on.';

const SOON = 1_000;
const LATER = 10_000;

/** A page that is no more the reader's to follow. */
class Over extends Error {}

/** The page as it is now. A document is parsed by the browser itself: nothing in it runs. */
export function read() {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('GET', location.href);
    request.responseType = 'document';
    request.setRequestHeader('Accept', 'text/html');
    request.addEventListener('load', () => {
      if (new URL(request.responseURL).pathname !== location.pathname) reject(new Over());
      else if (request.status === 200 && request.response) resolve(request.response);
      else reject(new Error('no page'));
    });
    request.addEventListener('error', () => reject(new Error('no answer')));
    request.send();
  });
}

/** Nodes of a page that was read, for this one. */
export const own = (element) => [...element.childNodes].map((node) => document.importNode(node, true));

/** What a part says, but for how far away its times are: that goes on by itself. */
export function words(part) {
  const copy = part.cloneNode(true);
  for (const away of copy.querySelectorAll('.away')) away.remove();
  return copy.textContent;
}

/** Has `take` called with the page as it is now when one of these topics changed; what it gives is said. */
export function watch(topics, take) {
  watchers.push({ topics, take });
}

/** Whether somebody is at work in there. */
const busy = (part) => part.contains(document.activeElement) || part.querySelector('details[open], [data-keep]') !== null;

/** Puts the parts that are another in their places; whether there was one. */
function replace(due, fresh) {
  let changed = false;
  for (const part of due) {
    const now = fresh.getElementById(part.id);
    if (now === null || busy(part) || words(now) === words(part)) continue;
    part.replaceChildren(...own(now));
    changed = true;
  }
  return changed;
}

/** Reads the page again for what shows one of these topics. */
export async function refresh(topics) {
  for (const topic of topics) again.add(topic);
  if (reading) return;
  reading = true;
  try {
    while (again.size > 0) {
      const wanted = again;
      again = new Set();
      const due = parts().filter((part) => part.dataset.live.split(' ').some((topic) => wanted.has(topic)));
      const takers = watchers.filter((watcher) => watcher.topics.some((topic) => wanted.has(topic)));
      if (due.length + takers.length === 0) continue;
      const fresh = await read();
      const changed = replace(due, fresh);
      const said = takers.map(({ take }) => take(fresh)).filter((text) => text !== '');
      if (said.length > 0) say(said.join(' '));
      else if (changed) say('The page was brought up to date');
    }
  } catch (error) {
    paused(error instanceof Over ? OVER : PAUSED);
    if (error instanceof Over) end();
  } finally {
    reading = false;
  }
}

/** All that this page shows. */
const shown = () => [...parts().flatMap((part) => part.dataset.live.split(' ')), ...watchers.flatMap(({ topics }) => topics)];

let source = null;
let ended = false;

function end() {
  ended = true;
  source?.close();
}

function follow() {
  source = new EventSource('/v1/events');
  // What changed between the load and now is made up for.
  source.addEventListener('open', () => {
    paused('');
    refresh(shown());
  });
  source.addEventListener('changed', (event) => {
    try {
      refresh(JSON.parse(event.data).changed);
    } catch {
      // Not in our form: the page stays as it is.
    }
  });
  source.addEventListener('error', () => {
    paused(PAUSED);
    // A stream that breaks comes back by itself; one that was refused, because too many are open, does not.
    if (source.readyState === EventSource.CLOSED && !ended) setTimeout(follow, LATER);
  });
}

// Who only passes by takes no stream: a session has few.
setTimeout(follow, SOON);
addEventListener('pagehide', () => source?.close());
