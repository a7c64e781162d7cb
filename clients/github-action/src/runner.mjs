// What the runner and an action say to each other: inputs and state by environment, outputs and state by files, masks
// and errors by lines on stdout.

import { randomUUID } from 'node:crypto';
import { appendFileSync } from 'node:fs';

/** An input, without white space around it; '' if it was not given. */
export function input(name) {
  return (process.env[`INPUT_${name.toUpperCase()}`] ?? '').trim();
}

/** An input that must be there. */
export function required(name) {
  const value = input(name);
  if (!value) throw new Failure(`input \`${name}\` is missing`);
  return value;
}

/** Why the step fails: what happened, and lines of what is known about it as [word, text]. */
export class Failure extends Error {
  constructor(message, lines = [], title = 'Stint') {
    super(message);
    this.lines = lines;
    this.title = title;
  }
}

export function output(name, value) {
  append('GITHUB_OUTPUT', name, value);
}

/** What the post step will find in STATE_name. */
export function state(name, value) {
  append('GITHUB_STATE', name, value);
}

export function summary(markdown) {
  if (process.env.GITHUB_STEP_SUMMARY) appendFileSync(process.env.GITHUB_STEP_SUMMARY, markdown);
}

/** From here on the runner shows `***` for each line of `secret`. PEM's own frame is no secret. */
export function mask(secret) {
  for (const line of secret.split(/\r?\n/)) {
    if (line.trim() && !line.startsWith('-----')) command('add-mask', line);
  }
}

/** A line of talk: the word in column 1, the text in column 11, control characters made harmless. */
export function say(word, text) {
  console.log(talk(word, text));
}

export function fail(failure) {
  const lines = failure.lines.map(([word, text]) => talk(word, text));
  command('error', [harmless(failure.message), ...lines].join('\n'), { title: failure.title });
  process.exitCode = 1;
}

function talk(word, text) {
  return `${word.padEnd(9)} ${harmless(String(text))}`;
}

/**
 * What comes from afar moves no cursor and is no command of the runner's: `::` is one only where a line begins, `##[`
 * anywhere.
 */
function harmless(text) {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, '\ufffd').replace(/##\[/g, '##(');
}

function append(file, name, value) {
  const path = process.env[file];
  if (!path) throw new Failure(`${file} is not set: this is no job of GitHub Actions`);
  // A delimiter that no value can know.
  const end = `end-${randomUUID()}`;
  appendFileSync(path, `${name}<<${end}\n${value}\n${end}\n`);
}

function command(name, text, properties = {}) {
  const escape = (value) => value.replace(/%/g, '%25').replace(/\r/g, '%0D').replace(/\n/g, '%0A');
  const said = Object.entries(properties).map(([key, value]) => {
    return `${key}=${escape(value).replace(/:/g, '%3A').replace(/,/g, '%2C')}`;
  });
  process.stdout.write(`::${name}${said.length ? ` ${said.join(',')}` : ''}::${escape(text)}\n`);
}
