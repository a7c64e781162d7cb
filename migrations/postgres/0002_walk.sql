-- What the walk reads and the ledger's commit writes. Nothing here is an outcome of its own:
-- each row came with an entry, in that entry's transaction.

-- Evidence that was used: one row a token, kept until it could no longer pass for fresh.
CREATE TABLE spent (
  log      TEXT    NOT NULL,
  key      TEXT    NOT NULL,
  proof    TEXT,             -- thumbprint the first use proved; NULL: never again
  task     TEXT    NOT NULL,
  until    BIGINT  NOT NULL,
  replayed BIGINT  NOT NULL DEFAULT 0,
  PRIMARY KEY (log, key)
);
CREATE INDEX spent_until ON spent (log, until);

CREATE TABLE caller (
  log    TEXT    NOT NULL,
  id     TEXT    NOT NULL, -- SPIFFE ID
  kind   TEXT    NOT NULL,
  issuer TEXT    NOT NULL,
  first  BIGINT  NOT NULL,
  PRIMARY KEY (log, id)
);

CREATE TABLE task (
  log       TEXT    NOT NULL,
  id        TEXT    NOT NULL,
  name      TEXT    NOT NULL,
  source    TEXT    NOT NULL,
  opened    BIGINT  NOT NULL,
  deadline  BIGINT,
  initiator TEXT,
  begun     BIGINT  NOT NULL, -- whether more than refusals happened in it
  outcomes  BIGINT  NOT NULL DEFAULT 0, -- version of this task's history
  grants    BIGINT  NOT NULL DEFAULT 0,
  denials   BIGINT  NOT NULL DEFAULT 0,
  PRIMARY KEY (log, id)
);

-- The fold of a task's history that policy reads: actions ever granted and until when
-- the longest of them lives; labels of every resource ever granted.
CREATE TABLE task_action (
  log    TEXT    NOT NULL,
  task   TEXT    NOT NULL,
  action TEXT    NOT NULL,
  until  BIGINT  NOT NULL,
  PRIMARY KEY (log, task, action)
);

CREATE TABLE task_label (
  log   TEXT NOT NULL,
  task  TEXT NOT NULL,
  label TEXT NOT NULL,
  PRIMARY KEY (log, task, label)
);

CREATE TABLE granted (
  log     TEXT    NOT NULL,
  id      TEXT    NOT NULL,
  task    TEXT    NOT NULL,
  caller  TEXT    NOT NULL,
  kind    TEXT    NOT NULL,
  unique_id TEXT  NOT NULL, -- serial or jti
  seq     BIGINT  NOT NULL,
  until   BIGINT  NOT NULL,
  PRIMARY KEY (log, id)
);
CREATE UNIQUE INDEX granted_unique ON granted (log, unique_id);

CREATE TABLE request (
  log        TEXT    NOT NULL,
  id         TEXT    NOT NULL,
  digest     TEXT    NOT NULL,
  task       TEXT    NOT NULL,
  caller     TEXT    NOT NULL,
  state      TEXT    NOT NULL, -- pending approved denied expired cancelled
  match_code TEXT    NOT NULL,
  needs      TEXT    NOT NULL, -- JSON: policy, approvers, quorum
  ask        TEXT    NOT NULL, -- JSON: the canonical ask the digest is of, and its reason
  opened     BIGINT  NOT NULL,
  expires    BIGINT  NOT NULL,
  PRIMARY KEY (log, id)
);
-- One open request an ask, whoever asks again.
CREATE UNIQUE INDEX request_open ON request (log, digest) WHERE state = 'pending';
