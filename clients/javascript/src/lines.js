// Lines of bounded length, each ended by LF, from a stream in bounded memory.

/** A file whose lines are not lines; the message says how. */
export class LineError extends Error {}

const LF = 0x0a;

/** The lines of one file: `next` as long as there is one at hand, `fill` when there is none. */
export class Lines {
  /**
   * @param {import('./bundle.js').Stream} stream
   * @param {number} max bytes of a line, LF not counted
   */
  constructor(stream, max) {
    this.stream = stream;
    this.max = max;
    this.chunk = new Uint8Array(0);
    this.at = 0;
    this.ended = false;
    /** The next bytes, asked for while these are worked on. */
    this.ahead = undefined;
  }

  /**
   * The next line without its LF, or `undefined` if `fill` is needed first. It is good until the next `fill`.
   * @returns {Uint8Array | undefined}
   * @throws {LineError} if it is too long
   */
  next() {
    const end = this.chunk.indexOf(LF, this.at);
    if (end < 0) {
      if (this.chunk.length - this.at > this.max) throw new LineError(`has a line of more than ${this.max} bytes`);
      return undefined;
    }
    if (end - this.at > this.max) throw new LineError(`has a line of more than ${this.max} bytes`);
    const line = this.chunk.subarray(this.at, end);
    this.at = end + 1;
    return line;
  }

  /**
   * Reads on. `false` at the end of the file.
   * @throws {LineError} if the last line has no LF
   */
  async fill() {
    if (this.ended) return false;
    const chunk = await (this.ahead ?? this.stream.read());
    if (chunk === null) {
      this.ended = true;
      if (this.at < this.chunk.length) throw new LineError('is cut off within a line');
      return false;
    }
    this.ahead = this.stream.read();
    this.ahead.catch(() => {}); // told to whoever waits for it
    const rest = this.chunk.subarray(this.at);
    if (rest.length === 0) {
      this.chunk = chunk;
    } else {
      this.chunk = new Uint8Array(rest.length + chunk.length);
      this.chunk.set(rest);
      this.chunk.set(chunk, rest.length);
    }
    this.at = 0;
    return true;
  }

  /** The next line, whatever it takes; `null` at the end. */
  async line() {
    for (;;) {
      const line = this.next();
      if (line !== undefined) return line;
      if (!(await this.fill())) return null;
    }
  }

  /** Reads no further. */
  close() {
    this.ended = true;
    this.chunk = new Uint8Array(0);
    this.at = 0;
    this.stream.close();
  }
}
