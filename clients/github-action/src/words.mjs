// What the broker said, in words for people: [word, text] lines, as `stint` says them.

/** A denial, with the receipt's reasons. */
export function denied(problem, ask, claims) {
  const receipt = problem.decision_receipt ?? {};
  const lines = [];
  if (receipt.caller) lines.push(['you are', identity(receipt.caller)]);
  for (const policy of receipt.decided_by ?? []) {
    const said = (receipt.reasons ?? []).find((one) => one.policy === policy);
    lines.push(['policy', said ? `${policy}: ${said.reason}` : policy]);
  }
  if (receipt.note) lines.push(['look', receipt.note]);
  if (receipt.closest) lines.push(['closest', nearest(receipt.closest)]);
  if (receipt.advice) lines.push(['advice', receipt.advice]);
  lines.push(['next', `ask ${owner(receipt.owner)} and quote ${problem.decision}`]);
  if (claims) lines.push(['repro', repro(ask, claims)]);
  return lines;
}

/** The same decision at a desk, on the policies of a checkout. */
function repro(ask, claims) {
  const words = [ask.action, ...ask.resources].map((word) => `'${word.replace(/'/g, '\'\\\'\'')}'`);
  return `stint policy explain --claims ${claims} --dir POLICIES${ask.credential.kind === 'jwt' ? ' --credential jwt' : ''} ${words.join(' ')}`;
}

export function held(hold) {
  const lines = (hold.needs ?? []).map((need) => {
    const missing = need.quorum - (need.have ?? 0);
    return ['hold', `${missing} ${missing === 1 ? 'approval' : 'approvals'} needed from ${need.approvers.join(' or ')} (policy ${need.policy}, decision ${hold.decision})`];
  });
  lines.push(['request', `${hold.request}, open until ${hold.expires_at}`]);
  if (hold.match_code) lines.push(['code', `${[...hold.match_code].join(' ')}   the approver will ask for it`]);
  lines.push(['approve', hold.approve_url]);
  return lines;
}

export function granted(grant) {
  const { credential } = grant;
  const what = credential.kind === 'jwt' ? `jwt for ${credential.audience}` : `x509 ${credential.serial}`;
  const shortened = grant.shortened_by?.length ? `, shortened by ${grant.shortened_by.join(', ')}` : '';
  return `${grant.grant}: ${what} until ${grant.expires_at}${shortened}; ledger ${grant.ledger.seq}`;
}

/** The step summary of a grant. */
export function summaryOf(grant, ask) {
  const rows = [
    ['grant', code(grant.grant)],
    ['for', `${code(ask.action)} on ${ask.resources.map(code).join(', ')}`],
    ['credential', grant.credential.kind === 'jwt' ? `JWT for ${code(grant.credential.audience)}` : `certificate ${code(grant.credential.serial)} of ${code(grant.credential.spiffe_id)}`],
    ['until', code(grant.expires_at)],
    ['approved', grant.request ? `request ${code(grant.request)}` : 'by policy, nobody was asked'],
    ['ledger entry', String(grant.ledger.seq)],
  ];
  return `### Stint: granted\n\n| | |\n|---|---|\n${rows.map(([name, value]) => `| ${name} | ${value} |\n`).join('')}\n`;
}

/** The step summary of anything else. */
export function summaryOfFailure(failure) {
  const lines = [failure.message, ...failure.lines.map(([word, text]) => `${word.padEnd(9)} ${text}`)];
  // In a block that nothing can end, so that what comes from afar is text and no link, image or table.
  const text = lines.map((line) => line.replace(/[`\r\n]/g, ' ')).join('\n');
  return `### ${failure.title}\n\n\`\`\`text\n${text}\n\`\`\`\n\n`;
}

function code(text) {
  return `\`${String(text).replace(/[`|\r\n]/g, ' ')}\``;
}

function identity(caller) {
  const nested = Object.values(caller.claims?.platform ?? {})[0];
  const own = Object.entries(caller).find(([name, value]) => value && typeof value === 'object' && !['origin', 'extra', 'claims'].includes(name));
  const claims = nested ?? own?.[1];
  const who = caller.preset ?? caller.issuer ?? 'caller';
  return claims ? `${who}: ${Object.entries(claims).map(([name, value]) => `${name} ${plain(value)}`).join(', ')}` : `${who}: ${caller.id ?? caller.spiffe_id}`;
}

function nearest(closest) {
  const fails = (closest.fails ?? []).map((one) => {
    return one.yours === undefined || one.yours === null ? `${one.name} (you have none)` : `${one.name} (yours: ${plain(one.yours)})`;
  });
  const holds = closest.holds?.length ? `holds ${closest.holds.join(', ')}; ` : '';
  return `${closest.policy}: ${holds}fails ${fails.join(', ')}`;
}

function owner(said) {
  if (said?.group) return `Group::"${said.group}"${said.contact ? ` (${said.contact})` : ''}`;
  return said?.contact ?? 'the operators';
}

function plain(value) {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
