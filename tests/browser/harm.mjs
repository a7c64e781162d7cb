// Pages that were tampered with, went stale, or carry what strangers wrote: nothing is signed that is not shown, nothing
// that was written runs, and looking decides nothing.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { ask, errand, ORIGIN, Visit, withBrowser } from './look.mjs';

const POISON = '<img src=x onerror=alert(1)><script>document.title="poisoned"</script>\u202egnp.exe \u0430dmin';
const text = (visit, selector) => visit.page.locator(selector).innerText();

await withBrowser(async (browser) => {
  const request = await ask('harm', { reason: 'plain' });
  const dana = await (await Visit.begin(browser)).withAuthenticator();
  await dana.signIn('dana', `/a/${request.id}`);
  await dana.enrol();
  const votes = [];
  dana.page.on('request', (sent) => {
    if (sent.url().endsWith('/votes')) votes.push(sent);
  });
  const press = async () => {
    await dana.page.locator('#code').fill(request.code);
    await dana.page.locator('#yes').click();
    await dana.page.locator('#vote-fault').waitFor();
    return text(dana, '#vote-fault');
  };

  const tampered = {
    'another text': () => { document.querySelector('#facts tr:nth-child(3) td').textContent = 'Environment::"staging/web"'; },
    'another label': () => { document.querySelector('#facts tr:nth-child(3) th').textContent = 'Nothing'; },
    'a row less': () => { document.querySelector('#facts tr:nth-child(4)').remove(); },
    'a row more': () => { document.querySelector('#facts tbody').append(document.querySelector('#facts tr').cloneNode(true)); },
    'another order': () => { document.querySelector('#facts tbody').append(document.querySelector('#facts tr:nth-child(2)')); },
    'a hidden row': () => { document.querySelector('#facts tr:nth-child(3)').hidden = true; },
  };
  for (const [name, change] of Object.entries(tampered)) {
    await dana.go(`/a/${request.id}`);
    await dana.page.evaluate(change);
    assert.match(await press(), /Nothing was signed/, name);
  }
  await dana.inOrder('request-tampered');
  assert.deepEqual(votes, [], 'no vote was sent');

  // A broker, or whoever is between, that asks for another signature than the page shows.
  const bent = {
    'a longer time': (ballot) => { ballot.facts.lasts_s += 60; },
    'another verdict': (ballot) => { ballot.facts.vote = 'no'; },
    'another digest under the same challenge': (ballot) => { ballot.facts.digest = 'A'.repeat(43); },
    'another challenge': (ballot) => { ballot.challenge = 'A'.repeat(43); },
    'another row': (ballot) => { ballot.facts.shown[2][1] += ' '; },
  };
  for (const [name, bend] of Object.entries(bent)) {
    await dana.go(`/a/${request.id}`);
    await dana.page.evaluate((source) => {
      const [real, change] = [window.fetch, eval(source)];
      window.fetch = async (...args) => {
        const answer = await real(...args);
        if (!String(args[0]).endsWith('/ballot')) return answer;
        const ballot = await answer.json();
        change(ballot);
        return new Response(JSON.stringify(ballot), { status: 200 });
      };
    }, `(${bend})`).catch((error) => { throw new Error(`${name}: ${error}`); });
    assert.match(await press(), /Nothing was signed/, name);
  }
  assert.deepEqual(votes, [], 'no vote was sent');

  // The policies change between the look and the vote: the page is told apart by a badge, the vote is by those in force.
  await dana.go(`/a/${request.id}`);
  const changed = { do: 'policy', name: 'web.cedar', from: 'Two SREs see', to: 'SREs see' };
  assert.equal((await errand(changed)).status, 200);
  await dana.go(`/a/${request.id}`);
  assert.match(await text(dana, '#standing'), /policy changed since the ask/);
  await dana.inOrder('request-drifted');
  // What follows is missed by a page that hears nothing.
  dana.expect('ERR_FAILED');
  await dana.page.route('**/v1/events', (route) => route.abort());
  await dana.go(`/a/${request.id}`);

  // Decided by somebody else meanwhile: told to look again.
  const lee = await (await Visit.begin(browser)).withAuthenticator();
  await lee.signIn('lee', `/a/${request.id}`);
  await lee.enrol();
  await lee.page.locator('#note').fill('no');
  await Promise.all([lee.page.waitForEvent('load'), lee.page.locator('#no').click()]);
  dana.expect('409 (Conflict)');
  assert.match(await press(), /Not counted/);
  assert(await dana.page.locator('#vote-fault-next').isVisible());
  await dana.inOrder('request-stale');

  // A device that does not know the person.
  const shy = await ask('shy');
  await dana.cdp.send('WebAuthn.setUserVerified', { authenticatorId: dana.authenticator, isUserVerified: false });
  await dana.go(`/a/${shy.id}`);
  await dana.page.locator('#code').fill(shy.code);
  await dana.page.locator('#yes').click();
  await dana.page.getByText('Nothing was signed').waitFor({ timeout: 150000 });
  await dana.cdp.send('WebAuthn.setUserVerified', { authenticatorId: dana.authenticator, isUserVerified: true });

  // What a requester wrote is text, and is seen as it is.
  const poisoned = await ask('poisoned', { reason: POISON });
  await dana.go(`/a/${poisoned.id}`);
  await dana.page.locator('details.fold summary').click();
  const words = await text(dana, 'blockquote');
  assert(words.includes('<img src=x onerror=alert(1)>'), words);
  assert(words.includes('\\u{202e}gnp.exe') && words.includes('\\u{430}dmin'), words);
  assert(!/[\u202a-\u202e\u2066-\u2069]/.test(await dana.page.content()), 'no direction is turned');
  assert.equal(await dana.page.locator('main img, main script').count(), 0);
  assert.equal(await dana.page.title(), 'A request · Stint');
  assert.match(await text(dana, 'details.fold'), /Written by the requester/);
  await dana.inOrder('request-poisoned');

  // Looking decides nothing, however often, by whatever looks.
  const prefetched = await ask('prefetched');
  for (const purpose of ['prefetch', 'preview']) {
    const status = await dana.page.evaluate(async ([path, how]) => {
      const answer = await fetch(path, { headers: { purpose: how } });
      return answer.status;
    }, [`/a/${prefetched.id}?vote=yes`, purpose]);
    assert.equal(status, 200);
  }
  assert.equal((await errand({ do: 'ask', job: 'prefetched' })).status, 202);

  // No other page frames it, or reads it.
  const elsewhere = createServer((_, response) => {
    response.setHeader('content-type', 'text/html');
    response.end(`<!doctype html><title>elsewhere</title><iframe src="${ORIGIN}/a/${prefetched.id}"></iframe>`);
  });
  await new Promise((done) => elsewhere.listen(0, '127.0.0.1', done));
  const thief = await dana.context.newPage();
  await thief.goto(`http://127.0.0.1:${elsewhere.address().port}/`);
  const frame = thief.frames()[1];
  assert.equal(await frame.locator('#facts').count(), 0, 'framing is refused');
  elsewhere.close();
  for (const visit of [dana, lee]) await visit.end();
});
