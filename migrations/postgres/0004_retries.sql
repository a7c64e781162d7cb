-- What a retry finds (IDENTITY.md §2.3, UX.md §4). Each row came with its outcome, in that outcome's transaction; only
-- a certificate is kept a moment later, for it has to be signed first.

-- What the first use of this evidence brought and came to.
ALTER TABLE spent ADD COLUMN same    TEXT; -- hash of the ask, its key and the proof: a retry brings all three again
ALTER TABLE spent ADD COLUMN outcome TEXT; -- gr_… req_… dec_…

-- Idempotency keys, each under the caller and the task that sent it.
CREATE TABLE retry (
  log     TEXT    NOT NULL,
  key     TEXT    NOT NULL, -- hash of caller, task and key
  same    TEXT    NOT NULL, -- hash of the ask and its key
  outcome TEXT    NOT NULL,
  until   BIGINT  NOT NULL,
  PRIMARY KEY (log, key)
);
CREATE INDEX retry_until ON retry (log, until);

-- Answers that are given again: certificates, which are public, and refusals. Never a token.
CREATE TABLE answer (
  log   TEXT    NOT NULL,
  id    TEXT    NOT NULL, -- gr_… dec_…
  body  TEXT    NOT NULL, -- JSON
  until BIGINT  NOT NULL,
  PRIMARY KEY (log, id)
);
CREATE INDEX answer_until ON answer (log, until);
