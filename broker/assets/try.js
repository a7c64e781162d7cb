// The playground: sends a case, or names a decision, and lays out what policy says to it.

import { Problem, badge, call } from './page.js';

const byId = (id) => document.getElementById(id);
const SHAPES = { permit: 'good', hold: 'wait', deny: 'bad' };

function pair(list, term, text) {
  if (text === undefined || text === null || text === '') return;
  const dt = document.createElement('dt');
  const dd = document.createElement('dd');
  dt.textContent = term;
  dd.textContent = text;
  list.append(dt, dd);
}

function card(result) {
  const { receipt } = result;
  const made = byId('result').content.cloneNode(true);
  const part = (name) => made.querySelector(`[data-part="${name}"]`);
  part('case').textContent = `${result.case}, ${result.caller}`;
  part('outcome').replaceWith(badge(SHAPES[receipt.outcome] ?? 'note', receipt.outcome));
  const facts = part('facts');
  pair(facts, 'Why', receipt.why);
  pair(facts, 'Decided by', (receipt.decided_by ?? []).join(', '));
  pair(facts, 'Note', receipt.note);
  for (const need of receipt.needs ?? []) pair(facts, 'Waits for', `${need.quorum} of ${need.approvers.join(', ')} (${need.policy})`);
  if (receipt.closest) {
    pair(facts, 'Closest permit', receipt.closest.policy);
    for (const fail of receipt.closest.fails) pair(facts, 'Fails', `${fail.name}: ${fail.yours === undefined ? 'the caller has none' : JSON.stringify(fail.yours)}`);
  }
  pair(facts, 'What helps', receipt.next_action?.kind);
  for (const failure of result.failures) pair(facts, 'Not as the case expects', failure);
  part('receipt').textContent = JSON.stringify(receipt, null, 2);
  return made;
}

async function attempt(event) {
  event.preventDefault();
  const form = event.target;
  const [field] = form.querySelectorAll('textarea, input');
  byId('result-said').textContent = 'Asking.';
  byId('results').replaceChildren();
  try {
    const told = await call('/v1/policy/explain', { [field.name]: field.value.trim() === '' ? '' : field.value });
    byId('results').replaceChildren(...told.results.map(card));
    const faults = told.findings.map((it) => `line ${it.line}: ${it.text}`).join('; ');
    const count = told.results.length === 1 ? 'One answer' : `${told.results.length} answers`;
    byId('result-said').textContent = faults === '' ? `${count} by policy ${told.policy_version}.` : `It cannot be read: ${faults}`;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    byId('result-said').textContent = error.message;
  }
  byId('result-title').focus();
}

for (const form of document.querySelectorAll('[data-try]')) form.addEventListener('submit', attempt);
