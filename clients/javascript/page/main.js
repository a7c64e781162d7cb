// The page: a form, a check, its verdicts, the entries.

import { ContainerError } from '../src/bundle.js';
import { unreadable } from '../src/report.js';
import { verify } from '../src/verify.js';
import { asked, chooseFile, chooseFolder } from './asked.js';
import { at } from './dom.js';
import { hideEntries, lookAt, showEntries, startList } from './list.js';
import { breath } from './pace.js';
import { showResult } from './result.js';
import { number } from './words.js';

/** Whether the check that runs is to stop. */
let stopping = false;

class Stopped extends Error {}

async function check({ chosen, trust, options }) {
  working(true);
  const pace = (read, of) => breath(() => {
    if (stopping) throw new Stopped();
    at('bar').value = read / of;
    at('working-text').textContent = `${number(read)} of ${number(of)} entries`;
  });
  let source;
  let told;
  try {
    source = await chosen.open();
    told = await verify(source, trust, { ...options, pace });
  } catch (error) {
    if (!(error instanceof ContainerError)) throw error;
    told = unreadable(error.message);
  }
  working(false);
  showResult(told, lookAt);
  if (source && told.log !== '') await showEntries(source, told);
}

function working(on) {
  stopping = false;
  at('working').hidden = !on;
  at('stop').hidden = !on;
  at('check').disabled = on;
  at('bar').removeAttribute('value');
  at('working-text').textContent = 'Reading the bundle';
  at('status').textContent = on ? 'Checking.' : '';
  if (on) {
    at('result').hidden = true;
    hideEntries();
  }
}

async function submit(event) {
  event.preventDefault();
  const ask = asked();
  if (ask === null) return;
  try {
    await check(ask);
  } catch (error) {
    working(false);
    if (error instanceof Stopped) {
      at('status').textContent = 'Stopped. Nothing was decided.';
      at('check').focus();
      return;
    }
    at('ask-fault').hidden = false;
    at('ask-fault').textContent = `The bundle could not be read: ${error.message}`;
  }
}

function startChoosing() {
  at('file').addEventListener('change', () => at('file').files.length > 0 && chooseFile(at('file').files[0]));
  at('folder').addEventListener('change', () => at('folder').files.length > 0 && chooseFolder([...at('folder').files]));
  const drop = at('drop');
  const over = (on) => (event) => {
    event.preventDefault();
    drop.classList.toggle('over', on);
  };
  // Anywhere on the page: a file that misses the frame must not make the browser leave.
  document.addEventListener('dragover', over(true));
  document.addEventListener('dragleave', over(false));
  document.addEventListener('drop', (event) => {
    over(false)(event);
    const [file] = event.dataTransfer.files;
    if (file) chooseFile(file);
  });
}

at('beside').hidden = location.protocol !== 'file:';
at('ask').addEventListener('submit', submit);
at('stop').addEventListener('click', () => {
  stopping = true;
});
startChoosing();
startList();
