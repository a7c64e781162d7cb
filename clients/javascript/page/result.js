// The verdicts, for people.

import { moment } from '../src/report.js';
import { at, element, visible } from './dom.js';
import { QUESTIONS, STATES, conclusion, number, sentence } from './words.js';

/**
 * Shows a report.
 * @param {import('../src/report.js').Report} told
 * @param {(seq: number) => void} look shows an entry
 */
export function showResult(told, look) {
  const { state, heading, text } = conclusion(told);
  at('banner').className = state;
  at('result-heading').textContent = heading;
  at('result-text').textContent = visible(text);
  at('range').replaceChildren(...range(told));
  at('range').hidden = told.log === '';
  at('verdicts').replaceChildren(...told.verdicts.map((verdict) => line(verdict, told, look)));
  at('result').hidden = false;
  at('result-heading').focus();
  at('result').scrollIntoView({ block: 'start' });
}

function range({ log, from, to, size, first_ts: first, last_ts: last }) {
  const count = to - from;
  const which = count === 0 ? 'no entries' : count === 1 ? `entry ${from}` : `entries ${from} to ${to - 1} (${number(count)})`;
  const text = visible(`Log ${log}: ${which} of ${number(size)}`);
  if (first === undefined) return [text];
  return [`${text}, `, element('span', 'whole', moment(first)), ' to ', element('span', 'whole', moment(last))];
}

function line({ name, state, text, seq }, told, look) {
  const answer = element('p', 'answer', visible(sentence(text)));
  if (typeof seq === 'number' && seq >= told.from && seq < told.to) {
    const button = element('button', 'link', `Show entry ${seq}`);
    button.type = 'button';
    button.addEventListener('click', () => look(seq));
    answer.append(' ', button);
  }
  const question = element('p', 'question', QUESTIONS[name], ' ', element('code', '', name));
  return element('li', state, element('span', 'state', STATES[state]), question, answer);
}
