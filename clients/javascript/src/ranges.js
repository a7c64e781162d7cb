// A set of seqs as half-open ranges, in bounded memory whatever a bundle holds.

/** Most ranges of one set, 16 bytes each. */
const MAX_RANGES = 1 << 20;

/** Ranges are gathered as they come and sorted when they are needed, or when there are too many. */
export class Ranges {
  constructor() {
    /** @type {[number, number][]} */
    this.gathered = [];
    /** Whether a range was left out, because the set was full. */
    this.full = false;
  }

  /**
   * @param {number} from
   * @param {number} to more than `from`
   */
  add(from, to) {
    const last = this.gathered.at(-1);
    if (last && last[1] === from) {
      last[1] = to;
      return;
    }
    if (this.gathered.length >= 2 * MAX_RANGES) this.merge();
    if (this.gathered.length >= 2 * MAX_RANGES) this.full = true;
    else this.gathered.push([from, to]);
  }

  merge() {
    this.gathered.sort(([a], [b]) => a - b);
    const merged = [];
    for (const [from, to] of this.gathered) {
      const last = merged.at(-1);
      if (last && from <= last[1]) last[1] = Math.max(last[1], to);
      else merged.push([from, to]);
    }
    if (merged.length > MAX_RANGES) {
      this.full = true;
      merged.length = MAX_RANGES;
    }
    this.gathered = merged;
    return merged;
  }

  /**
   * How many seqs of this set `other` holds too, and the first that it does not.
   * @param {Ranges} other
   * @returns {{both: number, first: number | undefined}}
   */
  within(other) {
    const [mine, theirs] = [this.merge(), other.merge()];
    let both = 0;
    let first;
    let i = 0;
    for (const [from, to] of mine) {
      let next = from;
      while (i < theirs.length && theirs[i][1] <= from) i += 1;
      for (let j = i; j < theirs.length && theirs[j][0] < to; j++) {
        const [a, b] = theirs[j];
        if (a > next) first ??= next;
        both += Math.min(b, to) - Math.max(a, next);
        next = Math.min(b, to);
      }
      if (next < to) first ??= next;
    }
    return { both, first };
  }
}
