// Lets a terminal in: the API gives a code, and the browser takes it to where the terminal listens on this machine.

import { call } from './page.js';

const button = document.getElementById('let-in');
const fault = document.getElementById('let-in-fault');

button?.addEventListener('click', async () => {
  button.disabled = true;
  fault.textContent = '';
  const { port, challenge, key, state } = button.dataset;
  try {
    const asked = { port: Number(port), challenge, key };
    if (state !== '') asked.state = state;
    const { redirect } = await call('/v1/cli/codes', asked);
    location.assign(redirect);
  } catch (error) {
    fault.textContent = `It was not let in: ${error.message}.`;
    button.disabled = false;
  }
});
