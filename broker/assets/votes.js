// The votes under a grant, checked again in this browser: the broker hands over what it recorded, the verifier says of each
// vote whether a passkey signed it, and over what.

import { ask, show, waiting } from './ledger.js';
import { badge } from './page.js';

const byId = (id) => document.getElementById(id);
const WORDS = { ok: ['good', 'Signed'], failed: ['bad', 'Does not hold'], incomplete: ['wait', 'Not decided'] };

/** The facts as they were signed, row by row. */
function facts(rows) {
  const details = document.createElement('details');
  const summary = document.createElement('summary');
  const table = document.createElement('table');
  const body = document.createElement('tbody');
  details.className = 'fold';
  summary.textContent = 'What was signed';
  table.className = 'facts';
  for (const [label, text] of rows) {
    const row = document.createElement('tr');
    const [th, td] = [document.createElement('th'), document.createElement('td')];
    th.scope = 'row';
    th.textContent = label;
    td.textContent = text;
    row.append(th, td);
    body.append(row);
  }
  table.append(body);
  details.append(summary, table);
  return details;
}

function tell(place, told) {
  const { state, text, shown } = told ?? { state: 'incomplete', text: 'no entry of it was handed over', shown: [] };
  const line = document.createElement('p');
  line.className = 'verdict';
  line.dataset.state = state;
  line.append(badge(...WORDS[state]), ` ${text}`);
  place.replaceChildren(line, ...(shown.length > 0 ? [facts(shown)] : []));
}

const recount = document.querySelector('[data-entries]');

async function check() {
  waiting('votes');
  const question = { sort: 'votes', keys: byId('votes-key').value };
  try {
    const answer = await fetch(recount.dataset.entries, { headers: { Accept: 'application/json' }, redirect: 'error' });
    if (!answer.ok) throw new Error(`the broker answered ${answer.status}`);
    question.entries = (await answer.json()).entries;
  } catch (error) {
    show('votes', { state: 'incomplete', text: `The entries could not be fetched: ${error.message}.`, lines: [] });
    return;
  }
  const told = await ask(recount.dataset.worker, question);
  for (const item of document.querySelectorAll('[data-vote]')) {
    tell(item.querySelector('[data-verdict]'), told.votes?.find((vote) => vote.id === item.dataset.vote));
  }
  show('votes', told);
}

byId('votes-check')?.addEventListener('click', check);
