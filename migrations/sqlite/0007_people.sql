-- People: who logs in, how they sign, what they were asked and what they said.

-- The newest login of each person. Display and notices only: what decides is the session's own.
CREATE TABLE person (
  log     TEXT    NOT NULL,
  id      TEXT    NOT NULL, -- SPIFFE ID of the user
  name    TEXT    NOT NULL,
  email   TEXT,             -- verified by the IdP, or absent
  groups  TEXT    NOT NULL, -- JSON array
  seen    INTEGER NOT NULL, -- the newest login
  barred  INTEGER,          -- no votes before this: passkeys were reset
  disabled INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (log, id)
) STRICT, WITHOUT ROWID;

-- Which account at an issuer of evidence is whose: how an initiator becomes a person.
CREATE TABLE person_link (
  log     TEXT NOT NULL,
  issuer  TEXT NOT NULL, -- name of the `[issuer.NAME]`
  account TEXT NOT NULL,
  person  TEXT NOT NULL,
  PRIMARY KEY (log, issuer, account)
) STRICT, WITHOUT ROWID;

-- A browser or a terminal somebody signed in with. `hash`: SHA-256 of the secret, which only the client has.
CREATE TABLE session (
  log     TEXT    NOT NULL,
  hash    TEXT    NOT NULL,
  person  TEXT    NOT NULL,
  via     TEXT    NOT NULL, -- console cli
  key     TEXT,             -- cli: thumbprint of the key it is bound to
  groups  TEXT    NOT NULL, -- JSON array: of this login
  auth_at INTEGER NOT NULL, -- when the IdP saw the person
  opened  INTEGER NOT NULL,
  used    INTEGER NOT NULL,
  ends    INTEGER NOT NULL,
  agent   TEXT    NOT NULL,
  PRIMARY KEY (log, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX session_person ON session (log, person);
CREATE INDEX session_ends ON session (log, ends);

CREATE TABLE passkey (
  log        TEXT    NOT NULL,
  credential TEXT    NOT NULL, -- base64url, as the authenticator named it
  person     TEXT    NOT NULL,
  key        TEXT    NOT NULL, -- RFC 7638 thumbprint: what its entry says
  jwk        TEXT    NOT NULL, -- JSON: the public key
  label      TEXT    NOT NULL,
  count      INTEGER NOT NULL, -- signature counter
  added      INTEGER NOT NULL,
  used       INTEGER,
  entry      TEXT    NOT NULL, -- ent_…: its key_added
  retired    INTEGER,
  PRIMARY KEY (log, credential)
) STRICT, WITHOUT ROWID;
CREATE INDEX passkey_person ON passkey (log, person);

-- What an ask on hold needs besides: to be judged with its votes, and to be shown.
ALTER TABLE request ADD COLUMN pol TEXT NOT NULL DEFAULT '';
ALTER TABLE request ADD COLUMN own TEXT NOT NULL DEFAULT '[]';      -- JSON: persons who may not vote
ALTER TABLE request ADD COLUMN question TEXT NOT NULL DEFAULT '{}'; -- JSON: the query as recorded
ALTER TABLE request ADD COLUMN card TEXT NOT NULL DEFAULT '{}';     -- JSON: what approvers are shown
ALTER TABLE request ADD COLUMN votes INTEGER NOT NULL DEFAULT 0;    -- version: how many were cast
ALTER TABLE request ADD COLUMN until INTEGER;                       -- end of the approval
ALTER TABLE request ADD COLUMN ended INTEGER;                       -- when it left `pending`
ALTER TABLE request ADD COLUMN spent INTEGER NOT NULL DEFAULT 0;    -- single use, and used
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
  at      INTEGER NOT NULL,
  lasts   INTEGER NOT NULL, -- seconds
  note    TEXT,             -- a no has its reason here
  PRIMARY KEY (log, id)
) STRICT, WITHOUT ROWID;
-- A person counts once.
CREATE UNIQUE INDEX vote_once ON vote (log, request, person, vote);

-- Who has looked at a request, and how often the match code was mistyped.
CREATE TABLE request_seen (
  log     TEXT    NOT NULL,
  request TEXT    NOT NULL,
  person  TEXT    NOT NULL,
  at      INTEGER NOT NULL,
  wrong   INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (log, request, person)
) STRICT, WITHOUT ROWID;

-- Deferral codes of the token endpoint, by hash.
CREATE TABLE deferral (
  log     TEXT    NOT NULL,
  hash    TEXT    NOT NULL,
  request TEXT    NOT NULL,
  client  TEXT    NOT NULL, -- SPIFFE ID
  key     TEXT,             -- thumbprint of the key that asked
  form    TEXT    NOT NULL, -- JSON: the ask as its form said it
  asked   INTEGER NOT NULL, -- the newest poll
  until   INTEGER NOT NULL,
  state   TEXT    NOT NULL, -- open spent cancelled
  PRIMARY KEY (log, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX deferral_request ON deferral (log, request);
CREATE INDEX deferral_until ON deferral (log, until);

-- Notices that are to be delivered; a row goes when it was, or when its time is over.
CREATE TABLE notice (
  log     TEXT    NOT NULL,
  id      TEXT    NOT NULL, -- ent_…
  target  TEXT    NOT NULL, -- name of the `[notify.NAME]`
  request TEXT,
  body    TEXT    NOT NULL, -- JSON: what is said, in no format yet
  due     INTEGER NOT NULL,
  until   INTEGER NOT NULL,
  tries   INTEGER NOT NULL DEFAULT 0,
  holder  TEXT    NOT NULL DEFAULT '', -- the node that sends it just now
  held    INTEGER NOT NULL DEFAULT 0,
  error   TEXT,
  PRIMARY KEY (log, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX notice_due ON notice (log, due);
-- The last delivery of each target, good and bad.
CREATE TABLE notice_target (
  log    TEXT    NOT NULL,
  target TEXT    NOT NULL,
  sent   INTEGER,
  failed INTEGER,
  error  TEXT,
  PRIMARY KEY (log, target)
) STRICT, WITHOUT ROWID;
