-- The words of SQLite that PostgreSQL lacks and that our statements use: rows that go over as one JSON text.
CREATE FUNCTION json_each(rows text) RETURNS TABLE (value json) LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  AS 'SELECT value FROM json_array_elements(rows::json)';

-- The chain: LEDGER.md §7. `log` leads every key; times are milliseconds since 1970 UTC;
-- hashes and keys are 32 raw bytes here and base64url everywhere else.
CREATE TABLE ledger_head (
  log       TEXT    NOT NULL PRIMARY KEY,
  epoch     BIGINT  NOT NULL,
  size      BIGINT  NOT NULL,
  last_leaf BYTEA   NOT NULL,
  root      BYTEA   NOT NULL,
  frontier  BYTEA   NOT NULL, -- roots of the perfect subtrees, largest first
  last_ts   BIGINT  NOT NULL,
  closed    BIGINT  NOT NULL,
  mac       BYTEA   NOT NULL
) WITH (fillfactor = 10); -- moved by every commit: its page keeps room for the next version of the row

CREATE TABLE ledger_batch (
  log       TEXT    NOT NULL,
  first_seq BIGINT  NOT NULL,
  n         BIGINT  NOT NULL,
  ts        BIGINT  NOT NULL,
  node      TEXT    NOT NULL,
  prev      BYTEA   NOT NULL,
  root      BYTEA   NOT NULL, -- after this batch
  hashes    BYTEA   NOT NULL, -- 32 bytes a leaf
  headers   BYTEA   NOT NULL, -- u16be length and bytes each, as in C2SP entry bundles
  PRIMARY KEY (log, first_seq),
  UNIQUE (log, prev)
);

CREATE TABLE ledger_body (
  log  TEXT    NOT NULL,
  seq  BIGINT  NOT NULL,
  enc  BIGINT  NOT NULL, -- 0: plain
  body BYTEA   NOT NULL,
  PRIMARY KEY (log, seq)
);

-- Policy sets by content hash: what a replay, a replica or a bundle needs to judge again.
-- `seq`: the newest policy_loaded entry that put this set in force.
CREATE TABLE policy_set (
  log    TEXT    NOT NULL,
  pol    TEXT    NOT NULL,
  serial BIGINT  NOT NULL,
  seq    BIGINT  NOT NULL,
  files  TEXT    NOT NULL, -- JSON object: path to text
  PRIMARY KEY (log, pol)
);
