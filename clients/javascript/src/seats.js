// Seats that a request asks for, and whether people fill them: one person fills one seat, across all groups. Groups are
// there by the hash of their names.

import { brief } from './passkey.js';

/** Most seats of one ask. */
export const MOST_SEATS = 64;

/**
 * Reads `needs`: how many for each group; where two name one group, the larger number fills both. `null` if it asks for
 * nobody, or for too many.
 * @param {import('./json.js').Value | undefined} needs
 * @returns {Map<string, number> | null}
 */
export function seatsOf(needs) {
  if (!Array.isArray(needs)) return null;
  const seats = new Map();
  for (const need of needs) {
    const [group, votes] = need instanceof Map ? [need.get('approvers'), need.get('quorum')] : [];
    if (typeof group !== 'string' || typeof votes !== 'number' || !(votes >= 1 && votes <= MOST_SEATS)) return null;
    seats.set(brief(group), Math.max(votes, seats.get(brief(group)) ?? 0));
  }
  const count = seatCount(seats);
  return count >= 1 && count <= MOST_SEATS ? seats : null;
}

/** @param {Map<string, number>} seats */
export function seatCount(seats) {
  return [...seats.values()].reduce((sum, votes) => sum + votes, 0);
}

/**
 * Whether each seat has its own person of its group.
 * @param {Map<string, number>} seats
 * @param {Set<string>[]} people the groups each of them sits for
 */
export function areFilled(seats, people) {
  const row = [...seats].flatMap(([group, votes]) => Array.from({ length: votes }, () => group));
  const sits = row.map(() => undefined);
  // An augmenting path: a person takes a free seat, or one whose holder can move on. Each seat is tried once.
  const place = (person, tried) => row.some((group, at) => {
    if (!people[person].has(group) || tried.has(at)) return false;
    tried.add(at);
    if (sits[at] !== undefined && !place(sits[at], tried)) return false;
    sits[at] = person;
    return true;
  });
  people.forEach((_, person) => place(person, new Set()));
  return !sits.includes(undefined);
}
