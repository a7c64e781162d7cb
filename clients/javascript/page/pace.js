// Work in slices, so that the page stays alive: a click is heard within a slice.

/** Milliseconds of a slice. */
const SLICE = 40;

let began = 0;

/**
 * Once a slice is over: calls `then`, and lets the browser draw and listen.
 * @param {() => void} then
 * @returns {Promise<void> | undefined}
 */
export function breath(then) {
  const now = performance.now();
  if (now - began < SLICE) return undefined;
  then();
  return new Promise((resume) => {
    setTimeout(() => {
      began = performance.now();
      resume();
    });
  });
}
