// Verify here: the verifier runs in a worker of its own, over what the page's own address gives or the reader brings.

import { badge } from './page.js';

const byId = (id) => document.getElementById(id);

// The one policy of these pages: it makes the address of the verifier, and nothing else.
const ours = globalThis.trustedTypes?.createPolicy('stint', {
  createScriptURL: (url) => {
    if (!/^\/assets\/verifier\.[\w-]+\.js$/.test(url)) throw new TypeError('not the verifier');
    return url;
  },
});

/** Asks the verifier once. */
export function ask(url, question) {
  return new Promise((resolve) => {
    const worker = new Worker(ours ? ours.createScriptURL(url) : url, { type: 'module' });
    const done = (answer) => {
      worker.terminate();
      resolve(answer);
    };
    worker.addEventListener('message', (event) => done(event.data));
    worker.addEventListener('error', () => done({ state: 'failed', text: 'The verifier could not run in this browser.', lines: [] }));
    worker.postMessage(question);
  });
}

const WORDS = { ok: ['good', 'Verified'], failed: ['bad', 'Failed'], incomplete: ['wait', 'Not decided'] };

export function show(prefix, { state, text, lines }) {
  const said = byId(`${prefix}-said`);
  said.replaceChildren(badge(...WORDS[state]), ` ${text}`);
  said.dataset.state = state;
  const list = document.createElement('ul');
  list.className = 'links';
  for (const line of lines) {
    const item = document.createElement('li');
    item.textContent = line;
    list.append(item);
  }
  byId(`${prefix}-verdicts`).replaceChildren(...(lines.length > 0 ? [list] : []));
}

export function waiting(prefix) {
  byId(`${prefix}-said`).textContent = 'Checking.';
  delete byId(`${prefix}-said`).dataset.state;
  byId(`${prefix}-verdicts`).replaceChildren();
}

const entry = document.querySelector('[data-entry]');
if (entry !== null) {
  byId('entry-check').addEventListener('click', async () => {
    waiting('entry');
    const question = { sort: 'entry', proof: entry.dataset.proof, seq: Number(entry.dataset.entry), keys: byId('entry-key').value };
    try {
      const answer = await fetch(entry.dataset.proof, { headers: { Accept: 'text/plain' }, redirect: 'error' });
      if (!answer.ok) throw new Error(`the broker answered ${answer.status}`);
      question.proof = await answer.text();
    } catch (error) {
      show('entry', { state: 'incomplete', text: `The proof could not be fetched: ${error.message}.`, lines: [] });
      return;
    }
    show('entry', await ask(entry.dataset.worker, question));
  });
}

const bundle = document.querySelector('[data-bundle]');
if (bundle !== null) {
  let chosen = null;
  const choose = (file) => {
    chosen = file ?? null;
    byId('bundle-said').textContent = chosen === null ? '' : `Chosen: ${chosen.name}`;
  };
  byId('bundle-file').addEventListener('change', () => choose(byId('bundle-file').files[0]));
  document.addEventListener('dragover', (event) => event.preventDefault());
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    choose(event.dataTransfer.files[0]);
  });
  byId('bundle-check').addEventListener('click', async () => {
    if (chosen === null) {
      byId('bundle-said').textContent = 'Choose a bundle first.';
      byId('bundle-file').focus();
      return;
    }
    waiting('bundle');
    show('bundle', await ask(bundle.dataset.worker, { sort: 'bundle', file: chosen, keys: byId('bundle-key').value }));
  });
}
