// `replay`, as far as headers go: the rules of the fold (LEDGER.md §8) over entries in seq order. No grant follows what
// forbids it, and each entry names the policy set in force at its place. What headers cannot say (which issuer was frozen)
// comes from bodies, where they are open. Decisions are not made again: this verifier has no policy engine and says so.

import { Check } from './report.js';

/** Most callers, tasks, and parents of tasks that are held at once. */
const MAX_HELD = 1 << 18;
/** Longest line of parents of a task that is followed. */
const MAX_LINE = 64;

/** Refusals for which policy was asked; the others came before it. */
const ASKED = new Set(['policy', 'policy_error', 'human', 'approval_needed', 'delegation', 'key', 'limit']);

/** What binds at a place in the log, as far as the entries before it in the range say. */
export class Fold {
  /** @param {number} from the first seq of the range */
  constructor(from) {
    this.check = new Check();
    /** The policy set in force: `null` before the first, `undefined` if the range begins too late to tell. */
    this.inForce = from === 0 ? null : undefined;
    this.frozen = new Map();
    this.disabled = new Map();
    this.closed = new Set();
    this.parents = new Map();
    this.full = false;
    /** Decisions of which nobody can say whether policy would make them again. */
    this.open = 0;
    this.firstOpen = undefined;
  }

  /**
   * Takes in one entry.
   * @param {import('./entry.js').Header} header
   * @param {Map<string, import('./json.js').Value> | undefined} body its `what`, if it is here and the one committed to
   */
  follow(header, body) {
    if (!header.known) {
      if (header.pol !== undefined) this.policy(header);
      return;
    }
    const { seq, what } = header;
    if (header.kind === 'genesis' && what.has('prior')) this.inForce = undefined; // it goes on with the old log's set
    if (header.pol !== undefined) this.policy(header);
    switch (header.kind) {
      case 'granted':
        this.granted(header, body);
        break;
      case 'requested':
      case 'task_opened':
        this.descends(what.get('task'), what.get('parent'));
        break;
      case 'task_closed':
        this.hold(this.closed, () => this.closed.add(what.get('task')));
        break;
      case 'frozen':
        this.frozen.set(seq, { scope: what.get('scope'), target: text(body?.get('target')) });
        break;
      case 'unfrozen':
        this.frozen.delete(what.get('of'));
        break;
      case 'caller_disabled':
        this.hold(this.disabled, () => this.disabled.set(header.subj, seq));
        break;
      case 'admin':
        if (what.get('op') === 'caller_enabled') this.enable(seq, what.get('of'));
        break;
      default:
    }
    if (asksPolicy(header)) this.decision(seq, body);
  }

  policy({ seq, kind, pol, what }) {
    if (kind === 'policy_loaded' && what.get('ok')) {
      const was = what.get('was');
      if (was !== undefined && typeof this.inForce === 'string' && was !== this.inForce) {
        this.check.fail(`entry ${seq} replaces a policy set that was not in force`, seq);
      }
      this.inForce = pol;
    } else if (this.inForce === undefined) {
      this.inForce = pol;
    } else if (this.inForce !== pol) {
      this.check.fail(`entry ${seq} names policy set ${pol}, which was not in force`, seq);
    }
  }

  granted({ seq, what, subj, behalf }, body) {
    const freeze = this.freezeOver(body);
    if (freeze !== undefined) this.check.fail(`entry ${seq} is a grant under the freeze of entry ${freeze}`, seq);
    const by = this.disabled.get(subj) ?? this.disabled.get(behalf);
    if (by !== undefined) this.check.fail(`entry ${seq} is a grant to a caller that entry ${by} disabled`, seq);
    this.descends(what.get('task'), what.get('parent'));
    if (this.isClosed(what.get('task'))) {
      this.check.fail(`entry ${seq} is a grant in a task that was closed before`, seq);
    }
  }

  freezeOver(body) {
    const issuer = text(member(body, 'caller', 'issuer'));
    const action = text(member(body, 'query', 'action'));
    for (const [seq, { scope, target }] of this.frozen) {
      if (scope === 'all') return seq;
      if (target !== undefined && target === (scope === 'issuer' ? issuer : action)) return seq;
    }
    return undefined;
  }

  /** Lifts the disabling of entry `of`; without it nobody can tell whose, so that nobody's stays. */
  enable(seq, of) {
    if (of === undefined) {
      this.disabled.clear();
      this.check.doubt(`entry ${seq} enables a caller and does not say which`, seq);
      return;
    }
    for (const [caller, by] of this.disabled) if (by === of) this.disabled.delete(caller);
  }

  descends(task, parent) {
    if (parent !== undefined) this.hold(this.parents, () => this.parents.set(task, parent));
  }

  hold(collection, add) {
    if (collection.size < MAX_HELD) add();
    else this.full = true;
  }

  /** A task that is closed ends its descendants. */
  isClosed(task) {
    if (this.closed.size === 0) return false;
    let line = task;
    for (let i = 0; i < MAX_LINE && line !== undefined; i++, line = this.parents.get(line)) {
      if (this.closed.has(line)) return true;
    }
    return false;
  }

  decision(seq, body) {
    this.open += 1;
    this.firstOpen ??= { seq, why: body ? 'no policy engine is at hand' : 'its body is not here' };
  }

  verdict() {
    const { check, open, firstOpen } = this;
    if (firstOpen) {
      const text = `${open} of ${open} decisions were not made again; entry ${firstOpen.seq}: ${firstOpen.why}`;
      check.doubt(text, firstOpen.seq);
    }
    if (this.full) check.doubt('more callers and tasks than can be told apart');
    return check.verdict('replay', 'no decision is in the range, and no rule between entries is broken');
  }
}

function asksPolicy({ kind, what }) {
  return kind === 'granted' || kind === 'requested' || (kind === 'denied' && ASKED.has(what.get('why')));
}

function member(body, outer, inner) {
  const value = body?.get(outer);
  return value instanceof Map ? value.get(inner) : undefined;
}

function text(value) {
  return typeof value === 'string' ? value : undefined;
}
