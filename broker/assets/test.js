// A test notice, and how it went: step by step, in the list, below the target it went to.

import { badge, call, say } from './page.js';

const STEPS = [
  ['prepare', 'Its address, secret and CA are read'],
  ['reach', 'Its receiver answers'],
  ['accept', 'It takes the notice'],
];

function step(kind, word, text) {
  const item = document.createElement('li');
  item.append(badge(kind, word), ` ${text}`);
  return item;
}

/** Each step: done, failed, or not tried. */
function steps({ sent, step: failed, why }) {
  const at = sent ? STEPS.length : STEPS.findIndex(([name]) => name === failed);
  return STEPS.map(([, text], index) => {
    if (index < at) return step('good', 'done', text);
    return index > at ? step('off', 'not tried', text) : step('bad', 'failed', `${text}: ${why}`);
  });
}

function line(text) {
  const made = document.createElement('p');
  made.textContent = text;
  return made;
}

/** The row below a target's own; it stays while the list is refreshed. */
function below(row) {
  const next = row.nextElementSibling;
  const found = next?.dataset.keep === undefined ? document.createElement('tr') : next;
  const cell = document.createElement('td');
  cell.colSpan = row.children.length;
  found.dataset.keep = '';
  found.replaceChildren(cell);
  row.after(found);
  return cell;
}

async function test(button) {
  const name = button.dataset.test;
  const cell = below(button.closest('tr'));
  cell.append(line(`Sending a test to ${name}.`));
  button.disabled = true;
  try {
    const told = await call('/v1/notify/test', { name });
    const list = document.createElement('ol');
    list.className = 'plain';
    list.append(...steps(told));
    const end = told.sent ? `${name} took the test. Did somebody get to read it?` : `What to do: ${told.next}`;
    cell.replaceChildren(list, line(end));
    say(told.sent ? `${name} took the test` : `${name} did not take the test: ${told.why}`);
  } catch (error) {
    cell.replaceChildren(line(`Nothing was sent: ${error.message}.`));
    say(`Nothing was sent: ${error.message}`);
  } finally {
    button.disabled = false;
    button.focus();
  }
}

document.addEventListener('click', (event) => {
  const button = event.target.closest('[data-test]');
  if (button !== null) test(button);
});
