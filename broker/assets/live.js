// Parts of a page that refresh themselves: the broker says what changed, never to what; the page is then read again and
// the parts that show it are put in place of the old ones. A page is right without this file.

import { say } from './page.js';

const parts = () => [...document.querySelectorAll('[data-live]')];
const state = document.getElementById('live-state');
let reading = false;
let again = new Set();

function paused(on) {
  if (state === null) return;
  state.hidden = !on;
  state.textContent = on ? 'Live updates paused. What you see is as of the load; reload for more.' : '';
}

/** The page as it is now. A document is parsed by the browser itself: nothing in it runs. */
function read() {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('GET', location.href);
    request.responseType = 'document';
    request.setRequestHeader('Accept', 'text/html');
    request.addEventListener('load', () => (request.status === 200 && request.response ? resolve(request.response) : reject(new Error('no page'))));
    request.addEventListener('error', () => reject(new Error('no answer')));
    request.send();
  });
}

/** Whether somebody is at work in there. */
const busy = (part) => part.contains(document.activeElement) || part.querySelector('details[open]') !== null;

async function refresh(topics) {
  for (const topic of topics) again.add(topic);
  if (reading) return;
  reading = true;
  try {
    while (again.size > 0) {
      const wanted = again;
      again = new Set();
      const due = parts().filter((part) => part.dataset.live.split(' ').some((topic) => wanted.has(topic)));
      if (due.length === 0) continue;
      const fresh = await read();
      let changed = false;
      for (const part of due) {
        const now = fresh.getElementById(part.id);
        if (now === null || busy(part) || now.textContent === part.textContent) continue;
        part.replaceChildren(...[...now.childNodes].map((node) => document.importNode(node, true)));
        changed = true;
      }
      if (changed) say('The page was brought up to date');
    }
  } catch {
    paused(true);
  } finally {
    reading = false;
  }
}

const source = new EventSource('/v1/events');
source.addEventListener('open', () => paused(false));
source.addEventListener('changed', (event) => {
  try {
    refresh(JSON.parse(event.data).changed);
  } catch {
    // Not in our form: the page stays as it is.
  }
});
source.addEventListener('error', () => paused(true));
addEventListener('pagehide', () => source.close());
