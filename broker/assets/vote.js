// A vote: what the page shows is held against what would be signed, then a passkey signs it. Nothing is signed that is not
// on the page, row by row; and the broker believes neither, it makes the facts again.

import { call, Problem, say } from './page.js';
import { challenge, decode, encode } from './facts.js';
import { refresh } from './live.js';
import { look } from './request.js';

const byId = (id) => document.getElementById(id);
const form = byId('ballot');
const path = `/v1/requests/${form.dataset.request}`;

/** The table as it stands on the page. */
function shown() {
  return [...byId('facts').querySelectorAll('tr')].map((row) => {
    if (!row.checkVisibility()) throw new Changed('a fact is on this page but hidden');
    return [...row.querySelectorAll('th, td')].map((cell) => cell.textContent);
  });
}

/** What would be signed is not what is shown. */
class Changed extends Error {}

/** Refuses unless the page shows these facts, all of them, in their order, and the vote is the one that was chosen. */
function compare(facts, choice) {
  const [page, signed] = [shown(), facts.shown];
  for (let at = 0; at < Math.max(page.length, signed.length); at += 1) {
    const [here, there] = [page[at], signed[at]];
    if (here?.length !== 2 || here[0] !== there?.[0] || here[1] !== there?.[1]) {
      throw new Changed(`the row “${there?.[0] ?? here?.[0]}” on this page is not what would be signed`);
    }
  }
  const said = { request: form.dataset.request, origin: location.origin, vote: choice.vote, note: choice.note };
  for (const [name, value] of Object.entries(said)) {
    if (facts[name] !== value) throw new Changed(`“${name}” is not what you chose`);
  }
  if (facts.pol !== byId('booth').dataset.pol) throw new Changed('the policies were changed since this page was made');
  if (choice.vote === 'yes' && facts.lasts_s !== choice.lasts_s) throw new Changed('the time is not what you chose');
}

function fault(id, text) {
  byId(`${id}-fault`).textContent = text;
  byId(`${id}-fault`).hidden = text === '';
  if (text === '') byId(id).removeAttribute('aria-invalid');
  else {
    byId(id).setAttribute('aria-invalid', 'true');
    byId(id).focus();
  }
}

/** What the form says, or null where it does not do. */
function chosen(vote) {
  const note = byId('note').value.trim();
  fault('note', '');
  const choice = { vote, note: note === '' ? undefined : note };
  if (vote === 'no') {
    if (note === '') {
      fault('note', 'Say why: the requester reads it, and it stays on record.');
      return null;
    }
    return choice;
  }
  if (form.dataset.code === 'true') {
    const code = byId('code').value.trim();
    fault('code', '');
    if (!/^[0-9]{3}$/.test(code)) {
      fault('code', 'Type the three digits that the requester sees.');
      return null;
    }
    choice.match_code = code;
  }
  choice.lasts_s = Number(byId('lasts').value);
  return choice;
}

/** Asks a passkey to sign the facts. */
async function sign(ballot) {
  const computed = await challenge(decode(ballot.nonce), ballot.facts);
  if (encode(computed) !== ballot.challenge) throw new Changed('the broker asks for a signature over something else');
  const credential = await navigator.credentials.get({
    publicKey: {
      challenge: computed,
      rpId: ballot.rp_id,
      allowCredentials: ballot.passkeys.map(({ id }) => ({ type: 'public-key', id: decode(id) })),
      userVerification: 'required',
      timeout: 120000,
    },
  });
  return {
    credential: encode(credential.rawId),
    authenticator_data: encode(credential.response.authenticatorData),
    client_data: encode(credential.response.clientDataJSON),
    signature: encode(credential.response.signature),
  };
}

async function vote(choice) {
  const ballot = await call(`${path}/ballot`, choice);
  compare(ballot.facts, choice);
  const assertion = await sign(ballot);
  return call(`${path}/votes`, { facts: ballot.facts, nonce: ballot.nonce, assertion });
}

function refuse(text, next) {
  byId('vote-fault-text').textContent = text;
  byId('vote-fault-next').hidden = next === undefined;
  byId('vote-fault-next').href = next?.url ?? '';
  byId('vote-fault-next').textContent = next?.name ?? '';
  byId('vote-fault').hidden = false;
}

const again = { url: location.pathname, name: 'Look again' };
const fresh = { url: `/login?fresh=1&return_to=${encodeURIComponent(location.pathname)}`, name: 'Sign in again' };

/** What went wrong, in words, and what to do. */
function explain(error) {
  if (error instanceof Changed) return refuse(`Nothing was signed: ${error.message}. Look at it again, and read it anew.`, again);
  if (error instanceof Problem) {
    if (error.code === 'invalid_field' && error.message.includes('match_code')) {
      return fault('code', 'That is not what the requester sees. Ask them, not the card; three tries in all.');
    }
    if (error.code === 'login_required' || error.code === 'step_up_required') return refuse(`${error.message}.`, fresh);
    if (error.code === 'passkey_required') return refuse(`${error.message}.`, again);
    return refuse(`Not counted: ${error.message}.`, again);
  }
  if (error?.name === 'NotAllowedError') return refuse('Nothing was signed: the passkey was not used, or not in time. You can try again.');
  return refuse(`Nothing was signed: ${error?.message ?? 'the browser has no passkeys'}`, again);
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  byId('vote-fault').hidden = true;
  const choice = chosen(event.submitter?.value === 'no' ? 'no' : 'yes');
  if (choice === null) return;
  form.inert = true;
  form.setAttribute('aria-busy', 'true');
  say('Your passkey is asked');
  try {
    await vote(choice);
    location.hash = 'outcome';
    location.reload();
  } catch (error) {
    form.inert = false;
    form.removeAttribute('aria-busy');
    explain(error);
    // It may be another by now.
    refresh(['requests']);
  }
});

// Looking again loses nothing that was typed.
byId('vote-fault-next').addEventListener('click', (event) => {
  if (byId('vote-fault-next').getAttribute('href') !== again.url) return;
  event.preventDefault();
  byId('vote-fault').hidden = true;
  look();
});

// Enter in a field is neither a yes nor a no.
form.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && event.target.matches('input, select')) event.preventDefault();
});
