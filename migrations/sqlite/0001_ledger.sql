-- The chain: LEDGER.md §7. `log` leads every key; times are milliseconds since 1970 UTC;
-- hashes and keys are 32 raw bytes here and base64url everywhere else.
CREATE TABLE ledger_head (
  log       TEXT    NOT NULL PRIMARY KEY,
  epoch     INTEGER NOT NULL,
  size      INTEGER NOT NULL,
  last_leaf BLOB    NOT NULL,
  root      BLOB    NOT NULL,
  frontier  BLOB    NOT NULL, -- roots of the perfect subtrees, largest first
  last_ts   INTEGER NOT NULL,
  closed    INTEGER NOT NULL,
  mac       BLOB    NOT NULL
) STRICT;

CREATE TABLE ledger_batch (
  log       TEXT    NOT NULL,
  first_seq INTEGER NOT NULL,
  n         INTEGER NOT NULL,
  ts        INTEGER NOT NULL,
  node      TEXT    NOT NULL,
  prev      BLOB    NOT NULL,
  root      BLOB    NOT NULL, -- after this batch
  hashes    BLOB    NOT NULL, -- 32 bytes a leaf
  headers   BLOB    NOT NULL, -- u16be length and bytes each, as in C2SP entry bundles
  PRIMARY KEY (log, first_seq),
  UNIQUE (log, prev)
) STRICT;

CREATE TABLE ledger_body (
  log  TEXT    NOT NULL,
  seq  INTEGER NOT NULL,
  enc  INTEGER NOT NULL, -- 0: plain
  body BLOB    NOT NULL,
  PRIMARY KEY (log, seq)
) STRICT;

-- Policy sets by content hash: what a replay, a replica or a bundle needs to judge again.
-- `seq`: the newest policy_loaded entry that put this set in force.
CREATE TABLE policy_set (
  log    TEXT    NOT NULL,
  pol    TEXT    NOT NULL,
  serial INTEGER NOT NULL,
  seq    INTEGER NOT NULL,
  files  TEXT    NOT NULL, -- JSON object: path to text
  PRIMARY KEY (log, pol)
) STRICT;
