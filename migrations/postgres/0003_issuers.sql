-- When each issuer's key set was last fetched, and which it was. The set itself, and who is frozen, stand in the ledger's
-- entries (key_added, frozen): this row serves only to say how old the set of the newest entry is, and only if it names
-- that very set.
CREATE TABLE issuer_keys (
  log     TEXT    NOT NULL,
  issuer  TEXT    NOT NULL, -- NAME of [issuer.NAME]
  key     TEXT    NOT NULL, -- of its last key_added entry
  fetched BIGINT  NOT NULL,
  PRIMARY KEY (log, issuer)
);
