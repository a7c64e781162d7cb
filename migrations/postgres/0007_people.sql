-- People: who logs in, how they sign, what they were asked and what they said.

-- The newest login of each person. Display and notices only: what decides is the session's own.
CREATE TABLE person (
  log     TEXT    NOT NULL,
  id      TEXT    NOT NULL, -- SPIFFE ID of the user
  name    TEXT    NOT NULL,
  email   TEXT,             -- verified by the IdP, or absent
  groups  TEXT    NOT NULL, -- JSON array
  seen    BIGINT NOT NULL, -- the newest login
  barred  BIGINT,          -- no votes until then: passkeys were reset
  PRIMARY KEY (log, id)
);

-- Which account at an issuer of evidence is whose: how an initiator becomes a person.
CREATE TABLE person_link (
  log     TEXT NOT NULL,
  issuer  TEXT NOT NULL, -- name of the `[issuer.NAME]`
  account TEXT NOT NULL,
  person  TEXT NOT NULL,
  PRIMARY KEY (log, issuer, account)
);

-- A browser or a terminal somebody signed in with. `hash`: SHA-256 of the secret, which only the client has.
CREATE TABLE session (
  log     TEXT    NOT NULL,
  hash    TEXT    NOT NULL,
  person  TEXT    NOT NULL,
  via     TEXT    NOT NULL, -- console cli
  key     TEXT,             -- cli: thumbprint of the key it is bound to
  groups  TEXT    NOT NULL, -- JSON array: of this login
  auth_at BIGINT NOT NULL, -- when the IdP saw the person
  opened  BIGINT NOT NULL,
  used    BIGINT NOT NULL,
  ends    BIGINT NOT NULL,
  agent   TEXT    NOT NULL,
  PRIMARY KEY (log, hash)
);
CREATE INDEX session_person ON session (log, person);
CREATE INDEX session_ends ON session (log, ends);

CREATE TABLE passkey (
  log        TEXT    NOT NULL,
  credential TEXT    NOT NULL, -- base64url, as the authenticator named it
  person     TEXT    NOT NULL,
  key        TEXT    NOT NULL, -- RFC 7638 thumbprint: what its entry says
  jwk        TEXT    NOT NULL, -- JSON: the public key
  label      TEXT    NOT NULL,
  count      BIGINT NOT NULL, -- signature counter
  added      BIGINT NOT NULL,
  used       BIGINT,
  entry      TEXT    NOT NULL, -- ent_…: its key_added
  retired    BIGINT,
  PRIMARY KEY (log, credential)
);
CREATE INDEX passkey_person ON passkey (log, person);

-- What an ask on hold needs besides: to be judged with its votes, and to be shown.
-- The account that started the run: whose it is may be known later.
ALTER TABLE request ADD COLUMN issuer TEXT NOT NULL DEFAULT '';
ALTER TABLE request ADD COLUMN starter TEXT NOT NULL DEFAULT '';
ALTER TABLE request ADD COLUMN pol TEXT NOT NULL DEFAULT '';
ALTER TABLE request ADD COLUMN own TEXT NOT NULL DEFAULT '[]';      -- JSON: persons who may not vote
ALTER TABLE request ADD COLUMN question TEXT NOT NULL DEFAULT '{}'; -- JSON: the query as recorded
ALTER TABLE request ADD COLUMN card TEXT NOT NULL DEFAULT '{}';     -- JSON: what approvers are shown
ALTER TABLE request ADD COLUMN votes BIGINT NOT NULL DEFAULT 0;    -- version: how many were cast
ALTER TABLE request ADD COLUMN until BIGINT;                       -- end of the approval
ALTER TABLE request ADD COLUMN ended BIGINT;                       -- when it left `pending`
ALTER TABLE request ADD COLUMN spent BIGINT NOT NULL DEFAULT 0;    -- single use, and used
CREATE INDEX request_digest ON request (log, digest, opened);
CREATE INDEX request_caller ON request (log, caller, opened);

CREATE TABLE vote (
  log     TEXT    NOT NULL,
  id      TEXT    NOT NULL, -- vote_…: its entry
  request TEXT    NOT NULL,
  digest  TEXT    NOT NULL,
  person  TEXT    NOT NULL,
  groups  TEXT    NOT NULL, -- JSON array: of the login that cast it
  vote    TEXT    NOT NULL, -- yes no
  at      BIGINT NOT NULL,
  lasts   BIGINT NOT NULL, -- seconds
  note    TEXT,             -- a no has its reason here
  PRIMARY KEY (log, id)
);
-- A person counts once.
CREATE UNIQUE INDEX vote_once ON vote (log, request, person, vote);

-- Who has looked at a request, and how often the match code was mistyped.
CREATE TABLE request_seen (
  log     TEXT    NOT NULL,
  request TEXT    NOT NULL,
  person  TEXT    NOT NULL,
  at      BIGINT NOT NULL,
  wrong   BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (log, request, person)
);

-- Thumbprints of the keys that asked: each may watch the request, long after its token is over.
CREATE TABLE request_key (
  log     TEXT    NOT NULL,
  request TEXT    NOT NULL,
  key     TEXT    NOT NULL,
  until   BIGINT NOT NULL,
  PRIMARY KEY (log, request, key)
);
CREATE INDEX request_key_until ON request_key (log, until);

-- Deferral codes of the token endpoint, by hash.
CREATE TABLE deferral (
  log     TEXT    NOT NULL,
  hash    TEXT    NOT NULL,
  request TEXT    NOT NULL,
  client  TEXT    NOT NULL, -- SPIFFE ID
  key     TEXT    NOT NULL, -- thumbprint of the key that asked
  form    TEXT    NOT NULL, -- JSON: the ask as its form said it
  asked   BIGINT NOT NULL, -- the newest poll
  pace    BIGINT NOT NULL, -- seconds between two polls
  hasty   BIGINT NOT NULL DEFAULT 0, -- how many came too soon
  until   BIGINT NOT NULL,
  state   TEXT    NOT NULL, -- open spent cancelled
  PRIMARY KEY (log, hash)
);
CREATE INDEX deferral_request ON deferral (log, request);
CREATE INDEX deferral_until ON deferral (log, until);

-- Notices that are to be delivered; a row goes when it was, or when its time is over.
CREATE TABLE notice (
  log     TEXT    NOT NULL,
  target  TEXT    NOT NULL, -- name of the `[notify.NAME]`
  id      TEXT    NOT NULL, -- what is said of what: nothing is said twice
  topic   TEXT    NOT NULL, -- request decided alarm
  who     TEXT    NOT NULL, -- whose: a burst of one is one message
  request TEXT,
  body    TEXT    NOT NULL, -- JSON: what is said, in no format yet
  due     BIGINT NOT NULL,
  until   BIGINT NOT NULL,
  tries   BIGINT NOT NULL DEFAULT 0,
  parcel  TEXT    NOT NULL DEFAULT '', -- the message it goes out with, from the first try on
  rest    TEXT,             -- JSON: whom that message did not reach yet, where it has several receivers
  error   TEXT,
  PRIMARY KEY (log, target, id)
);
CREATE INDEX notice_request ON notice (log, request);
-- Messages that were delivered, for an hour: what a burst and a cap are counted by.
CREATE TABLE notice_sent (
  log    TEXT    NOT NULL,
  target TEXT    NOT NULL,
  parcel TEXT    NOT NULL,
  topic  TEXT    NOT NULL,
  who    TEXT    NOT NULL,
  at     BIGINT NOT NULL,
  PRIMARY KEY (log, target, parcel)
);
-- Each target: the replica that has its turn, and the last delivery, good and bad.
CREATE TABLE notice_target (
  log    TEXT    NOT NULL,
  target TEXT    NOT NULL,
  holder TEXT    NOT NULL DEFAULT '',
  held   BIGINT NOT NULL DEFAULT 0, -- until when
  sent   BIGINT,
  failed BIGINT,
  error  TEXT,
  PRIMARY KEY (log, target)
);

-- What the lists on the pages find by. Which grants live is asked of their own table; all else of the index, which is
-- written behind the commit.
ALTER TABLE granted ADD COLUMN action TEXT NOT NULL DEFAULT '';
CREATE INDEX granted_until ON granted (log, until);
CREATE INDEX task_opened ON task (log, opened, id);
CREATE INDEX request_opened ON request (log, opened, id);
CREATE INDEX ledger_index_subj ON ledger_index (log, subj, kind, seq) WHERE subj IS NOT NULL;
CREATE INDEX ledger_index_task ON ledger_index (log, task_id, seq) WHERE task_id IS NOT NULL;
