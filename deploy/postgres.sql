-- What the role that serves may do, and nothing else: run it as the owner of the tables after every `stintd migrate`
-- (docs/postgres.md). The role is `stint`; it can lengthen the ledger, not rewrite it: no UPDATE or DELETE of batches,
-- no DELETE of the head, no DDL.
GRANT USAGE ON SCHEMA public TO stint;
GRANT SELECT ON _sqlx_migrations TO stint;

-- The chain.
GRANT SELECT, INSERT, UPDATE ON ledger_head TO stint;
GRANT SELECT, INSERT ON ledger_batch TO stint;
GRANT SELECT, INSERT, DELETE ON ledger_body TO stint;
GRANT SELECT, INSERT, UPDATE ON policy_set TO stint;

-- What is derived from it and can be made again.
GRANT SELECT, INSERT, DELETE ON ledger_tile TO stint;
GRANT SELECT, INSERT, UPDATE, DELETE ON ledger_note, ledger_index, ledger_cursor, ledger_node, ledger_standing TO stint;

-- What the walk reads; each row came with an entry.
GRANT SELECT, INSERT, UPDATE, DELETE ON spent, caller, task, task_action, task_label, granted, request, issuer_keys,
  retry, answer TO stint;

-- People, and what they were asked.
GRANT SELECT, INSERT, UPDATE, DELETE ON person, person_link, session, passkey, vote, request_seen, request_key, deferral,
  notice, notice_sent, notice_target TO stint;

-- Whether the ledger went elsewhere: read at every start.
GRANT SELECT ON moved TO stint;
