//! Which pages the sweep looks at, and as whom. `{request}` and the like are filled with what [`super::errands`] made.

use serde_json::{Value, json};

/// Each page: as whom (`""` is a stranger), its path, and what the pictures are called.
const PAGES: &[(&str, &str, &str)] = &[
    ("", "/problems/denied", "problem"),
    ("", "/nothing/here", "not-found"),
    ("", "/login?return_to=/inbox", "login"),
    ("", "/trust", "trust-open"),
    ("dana", "/", "home-approver"),
    ("dana", "/inbox", "inbox"),
    ("dana", "/a/{request}", "request"),
    (
        "dana",
        "/cli/authorize?port=40111&challenge={digest}&key={digest}&state=x",
        "terminal",
    ),
    ("dana", "/me", "me"),
    ("kim", "/a/{request}", "request-of-others"),
    ("kim", "/tasks", "tasks-own"),
    ("kim", "/policy", "policy-member"),
    ("lee", "/callers", "callers-empty"),
    ("lee", "/grants", "grants-empty"),
    ("lee", "/tasks", "tasks-empty"),
    ("lee", "/requests?state=cancelled", "requests-empty"),
    ("olu", "/me", "me-operator"),
    ("olu", "/integrations", "integrations"),
    ("avery", "/", "home"),
    ("avery", "/inbox", "inbox-auditor"),
    ("avery", "/requests", "requests"),
    ("avery", "/grants", "grants"),
    ("avery", "/grants?standing=live&action=none", "grants-none"),
    ("avery", "/grants/{grant}", "grant"),
    ("avery", "/decisions/{decision}", "decision-denied"),
    ("avery", "/decisions/{grant}", "decision-granted"),
    ("avery", "/tasks", "tasks"),
    ("avery", "/tasks/{task}", "task"),
    ("avery", "/callers", "callers"),
    ("avery", "/callers/acme.dev/github/123456/456789", "caller"),
    ("avery", "/policy", "policy"),
    ("avery", "/policy/try", "policy-try"),
    ("avery", "/catalogue", "catalogue"),
    ("avery", "/ledger", "ledger"),
    ("avery", "/ledger/1", "entry"),
    ("avery", "/ledger/1/body", "entry-body"),
    ("avery", "/ledger?at=gr_00000000", "ledger-empty"),
    ("avery", "/trust", "trust"),
];

/// For the script.
pub(crate) fn all() -> Value {
    let page =
        |(who, path, name): &(&str, &str, &str)| json!({ "who": who, "path": path, "name": name });
    json!({ "pages": PAGES.iter().map(page).collect::<Vec<_>>() })
}
