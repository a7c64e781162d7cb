// A new passkey, where it is needed: on the page of a request, or on one's own.

import { call, Problem, say } from './page.js';
import { decode, encode } from './facts.js';

const byId = (id) => document.getElementById(id);
const fault = byId('enrol-fault');

async function add(label) {
  const asked = await call('/v1/me/passkeys/options');
  const credential = await navigator.credentials.create({
    publicKey: {
      challenge: decode(asked.challenge),
      rp: asked.rp,
      user: { id: decode(asked.user.id), name: asked.user.name, displayName: asked.user.display_name },
      pubKeyCredParams: asked.algs.map((alg) => ({ type: 'public-key', alg })),
      excludeCredentials: asked.exclude.map(({ id }) => ({ type: 'public-key', id: decode(id) })),
      authenticatorSelection: { residentKey: 'preferred', userVerification: 'required' },
      attestation: 'none',
      timeout: 120000,
    },
  });
  await call('/v1/me/passkeys', {
    label,
    nonce: asked.nonce,
    authenticator_data: encode(credential.response.getAuthenticatorData()),
    client_data: encode(credential.response.clientDataJSON),
  });
}

function explain(error) {
  if (error instanceof Problem) return `${error.message}.`;
  if (error?.name === 'InvalidStateError') return 'That device or key holds a passkey of yours already.';
  if (error?.name === 'NotAllowedError') return 'No passkey was made: it was not confirmed, or not in time.';
  return `No passkey was made: ${error?.message ?? 'this browser has none'}`;
}

const form = byId('enrol-form');
form?.addEventListener('submit', async (event) => {
  event.preventDefault();
  fault.hidden = true;
  form.inert = true;
  say('Your device is asked for a passkey');
  try {
    await add(byId('label').value.trim());
    location.reload();
  } catch (error) {
    form.inert = false;
    fault.textContent = explain(error);
    fault.hidden = false;
    if (error?.code === 'step_up_required') {
      location.href = `/login?fresh=1&return_to=${encodeURIComponent(location.pathname)}`;
    }
  }
});
