// One's own page: passkeys go, sessions end.

import { call, say } from './page.js';

const fault = document.getElementById('me-fault');

async function change(path, after) {
  fault.hidden = true;
  try {
    await call(path);
    location.assign(after);
  } catch (error) {
    fault.textContent = `${error.message}.`;
    fault.hidden = false;
    fault.scrollIntoView({ block: 'center' });
  }
}

/** The first press asks, the second does. */
function twice(button, act) {
  if (button.dataset.sure === undefined) {
    button.dataset.sure = '';
    button.dataset.was = button.textContent;
    button.textContent = 'Press again to confirm';
    say('Press again to confirm');
    button.addEventListener('blur', () => {
      delete button.dataset.sure;
      button.textContent = button.dataset.was;
    }, { once: true });
    return;
  }
  act();
}

document.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  const { retire, end } = button?.dataset ?? {};
  if (retire !== undefined) twice(button, () => change(`/v1/me/passkeys/${retire}/retire`, '/me'));
  if (end !== undefined) twice(button, () => change(`/v1/me/sessions/${end}/end`, '/me'));
  if (button?.id === 'logout') change('/logout', '/login');
});
