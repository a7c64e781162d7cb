-- Where this ledger went: a store that was moved is not served again, or there would be two of one log (LEDGER.md §7).
CREATE TABLE moved (
  place TEXT    NOT NULL PRIMARY KEY, -- the database it was copied to
  state TEXT    NOT NULL,             -- begun: perhaps it is there; done: it is
  at    BIGINT  NOT NULL
);
