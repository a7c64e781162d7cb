-- What is derived from the entries and can be made again from them (LEDGER.md §7), and what replicas know of each other.

-- Full tiles, 256 hashes each; a growing one is a slice of what the batches hold.
CREATE TABLE ledger_tile (
  log   TEXT    NOT NULL,
  level INTEGER NOT NULL,
  idx   INTEGER NOT NULL,
  tile  BLOB    NOT NULL, -- 8,192 bytes
  PRIMARY KEY (log, level, idx)
) STRICT, WITHOUT ROWID;

-- Published checkpoints and what witnesses put beneath them.
CREATE TABLE ledger_note (
  log    TEXT    NOT NULL,
  size   INTEGER NOT NULL,
  note   TEXT    NOT NULL,
  cosigs TEXT    NOT NULL, -- signature lines, LF after each
  PRIMARY KEY (log, size)
) STRICT, WITHOUT ROWID;

-- Finds an entry by what is known of it. Never an outcome: an entry that is found is proven before it counts.
CREATE TABLE ledger_index (
  log        TEXT    NOT NULL,
  seq        INTEGER NOT NULL,
  ts         INTEGER NOT NULL,
  kind       TEXT    NOT NULL,
  id         TEXT    NOT NULL,
  subj       TEXT,
  actor      TEXT,
  behalf     TEXT,
  task_id    TEXT,
  request_id TEXT,
  grant_id   TEXT,
  tbs        TEXT,
  PRIMARY KEY (log, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX ledger_index_id   ON ledger_index (log, id);
CREATE INDEX ledger_index_kind ON ledger_index (log, kind, seq);
CREATE INDEX ledger_index_tbs  ON ledger_index (log, tbs) WHERE tbs IS NOT NULL;

-- How far somebody who follows the log has come: one sender a name, whichever replica holds it.
CREATE TABLE ledger_cursor (
  log   TEXT    NOT NULL,
  name  TEXT    NOT NULL,
  seq   INTEGER NOT NULL, -- the next entry to handle
  owner TEXT    NOT NULL, -- who has the turn, '' for nobody
  until INTEGER NOT NULL, -- until when
  PRIMARY KEY (log, name)
) STRICT, WITHOUT ROWID;

-- One row a replica: all its grants before `released` were handed out or closed (LEDGER.md §6).
CREATE TABLE ledger_node (
  log      TEXT    NOT NULL,
  node     TEXT    NOT NULL,
  instance TEXT    NOT NULL, -- of this life of it: two lives of one name at once are refused
  released INTEGER NOT NULL,
  seen     INTEGER NOT NULL,
  PRIMARY KEY (log, node)
) STRICT, WITHOUT ROWID;

-- The entries that still bind as of an anchor's checkpoint: what a start need not read the whole log for. The anchor has
-- the hash of it.
CREATE TABLE ledger_standing (
  log  TEXT    NOT NULL,
  size INTEGER NOT NULL,
  seqs TEXT    NOT NULL, -- ascending decimals joined by LF
  PRIMARY KEY (log, size)
) STRICT, WITHOUT ROWID;
