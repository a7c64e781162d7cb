//! Which pages the sweep looks at, and as whom. `{request}` and the like are filled with what [`super::errands`] made.

use serde_json::{Value, json};

/// Each page: as whom (`""` is a stranger), its path, and what the pictures are called.
const PAGES: [(&str, &str, &str); 20] = [
    ("", "/problems/denied", "problem"),
    ("", "/nothing/here", "not-found"),
    ("", "/login?return_to=/inbox", "login"),
    ("dana", "/inbox", "inbox"),
    ("dana", "/a/{request}", "request"),
    ("kim", "/a/{request}", "request-of-others"),
    ("dana", "/me", "me"),
    ("olu", "/me", "me-operator"),
    ("avery", "/", "home"),
    ("avery", "/requests", "requests"),
    ("avery", "/grants", "grants"),
    ("avery", "/tasks", "tasks"),
    ("avery", "/callers", "callers"),
    ("avery", "/policy", "policy"),
    ("avery", "/policy/try", "policy-try"),
    ("avery", "/catalogue", "catalogue"),
    ("avery", "/ledger", "ledger"),
    ("avery", "/ledger/1", "entry"),
    ("avery", "/trust", "trust"),
    ("olu", "/integrations", "integrations"),
];

/// For the script.
pub(crate) fn all() -> Value {
    let page = |(who, path, name)| json!({ "who": who, "path": path, "name": name });
    json!({ "pages": PAGES.map(page) })
}
