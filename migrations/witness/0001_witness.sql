-- What a witness holds (LEDGER.md §10): of each log the largest tree it cosigned, and what contradicts it.

CREATE TABLE witness_log (
  origin      TEXT    NOT NULL PRIMARY KEY,
  size        INTEGER NOT NULL,
  root        BLOB    NOT NULL, -- 32 bytes
  note        TEXT    NOT NULL, -- the checkpoint with its log's signatures
  cosignature TEXT    NOT NULL, -- the line that was answered
  time        INTEGER NOT NULL  -- in it, seconds since 1970 UTC; never falls
) STRICT, WITHOUT ROWID;

-- Checkpoints that their log signed and that were not cosigned, each beside what was held then.
CREATE TABLE witness_evidence (
  id     INTEGER PRIMARY KEY,
  origin TEXT    NOT NULL,
  kind   TEXT    NOT NULL, -- 'fork': the two notes alone convict the log; 'unproven': no true proof came with it
  size   INTEGER NOT NULL,
  root   BLOB    NOT NULL,
  note   TEXT    NOT NULL,
  held   TEXT    NOT NULL, -- '' if nothing was
  time   INTEGER NOT NULL, -- when it came
  UNIQUE (origin, kind, size, root)
) STRICT;
