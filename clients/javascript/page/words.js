// What the page says beside what the verifier says.

/** The question behind each verdict. */
export const QUESTIONS = {
  bytes: 'Has every entry its exact form, and is each disclosed body the one its header commits to?',
  chain: 'Is every entry linked to the one before, with none missing, moved or added?',
  root: 'Do the entries lead to what the checkpoint commits to?',
  signature: 'Did the log’s key, the one you brought, sign that checkpoint?',
  append: 'Does the log extend what you saw of it before?',
  witnesses: 'Did enough of your witnesses see it?',
  complete: 'Is every body that was promised here, or openly erased?',
  fresh: 'Is it recent enough for you?',
  passkeys: 'Are the votes signed by the voters’ own keys?',
  replay: 'Do the rules between entries hold, and would policy decide the same again?',
  credential: 'Is your credential’s grant in it?',
};

/** The states, as the lines say them. */
export const STATES = { ok: 'ok', failed: 'failed', incomplete: 'open', not_asked: 'not asked' };

/**
 * Heading and sentence for an exit code.
 * @param {import('../src/report.js').Report} told
 */
export function conclusion(told) {
  const looks = told.verdicts.filter((one) => one.state === 'incomplete').length;
  if (told.exit === 0) {
    const rest = ['', ' One question stays open below; it is not required.'][looks]
      ?? ` ${looks} questions stay open below; none of them is required.`;
    return { state: 'ok', heading: 'Verified', text: `Everything that was required holds, under the key you gave.${rest}` };
  }
  if (told.exit === 8) {
    const failed = told.verdicts.find((one) => one.state === 'failed');
    return { state: 'failed', heading: 'Failed', text: `${sentence(failed.text)} Do not rely on this bundle, and keep it: it is evidence.` };
  }
  const open = told.verdicts.find((one) => one.required && one.state === 'incomplete');
  const key = open.name === 'signature' ? ' Paste the log’s key above and check again.' : '';
  return { state: 'incomplete', heading: 'Not decided', text: `${sentence(open.text)}${key}` };
}

/** @param {string} text */
export function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** @param {number} n */
export function number(n) {
  return n.toLocaleString('en-GB');
}
