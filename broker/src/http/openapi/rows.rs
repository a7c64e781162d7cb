//! The role matrix: every route, who may call it, what it takes and answers.

use schemars::{Schema, SchemaGenerator};
use serde_json::{Value, json};
use stint_wire as wire;
use stint_wire::Code;

/// One route.
pub(super) struct Row {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) about: &'static str,
    pub(super) who: Who,
    pub(super) parameters: &'static [Parameter],
    pub(super) asks: Shape,
    pub(super) answers: &'static [(u16, &'static str, Shape)],
}

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Strangers too: it says what anybody may know (PROTOCOLS.md §1).
    Anybody,
    /// Whoever brings evidence in the header.
    Caller,
    /// Whoever brings evidence in an OAuth form.
    Client,
    /// Nobody: it is there to say no.
    Refuser,
    /// Whoever signed in.
    Person,
    /// Who reaches the ops listener or the socket. Not in the document.
    Operator,
}

/// What is in a body.
pub(super) enum Shape {
    Nothing,
    /// JSON of a type of the wire.
    Wire(fn(&mut SchemaGenerator) -> Schema),
    /// JSON that another standard describes.
    Json(fn() -> Value),
    /// A form.
    Form(fn(&mut SchemaGenerator) -> Value),
    /// Text of this media type.
    Text(&'static str),
}

/// A header or a part of the path.
pub(super) struct Parameter {
    pub(super) place: &'static str,
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) pattern: &'static str,
}

impl Parameter {
    pub(super) fn json(&self) -> Value {
        json!({
            "in": self.place, "name": self.name, "description": self.about,
            "required": self.place == "path", "schema": { "type": "string", "pattern": self.pattern },
        })
    }
}

impl Row {
    /// Whether a problem of this code may come from here.
    pub(super) fn refuses(&self, code: Code) -> bool {
        let takes_body = !matches!(self.asks, Shape::Nothing);
        let of_evidence = matches!(self.who, Who::Caller | Who::Client);
        let is_post = self.method == "post";
        let asks = is_post && matches!(self.path, "/v1/grants" | "/v1/decisions" | "/oauth2/token");
        let cancels = self.path.ends_with("/cancel");
        let votes = self.path.ends_with("/ballot") || self.path.ends_with("/votes");
        let enrols = matches!(self.path, "/v1/me/passkeys" | "/v1/me/passkeys/options");
        let mints = is_post && matches!(self.path, "/v1/grants" | "/oauth2/token");
        match code {
            Code::HeadersTooLarge
            | Code::Internal
            | Code::Malformed
            | Code::RequestTimeout
            | Code::Unavailable
            | Code::WrongHost => true,
            Code::InvalidField => {
                let searched = self.parameters.iter().any(|it| it.place == "query");
                takes_body || of_evidence || searched || self.who == Who::Refuser
            }
            Code::TooLarge | Code::UnsupportedMediaType => takes_body,
            Code::EvidenceRejected | Code::InvalidDpopProof => {
                of_evidence || self.path == "/v1/sessions"
            }
            Code::RateLimited => {
                of_evidence || matches!(self.path, "/v1/events" | "/v1/policy/explain" | NOTICE)
            }
            Code::LoginRequired => matches!(self.who, Who::Caller | Who::Person),
            Code::BadCsr
            | Code::CallerDisabled
            | Code::TaskClosed
            | Code::TaskRequired
            | Code::UnknownAction
            | Code::UnknownResourceType
            | Code::UnsupportedCredential => asks,
            Code::AlreadyDelivered
            | Code::Denied
            | Code::Frozen
            | Code::IdempotencyConflict
            | Code::ProofRequired
            | Code::RequestExpired => mints,
            Code::ApprovalNeeded => self.who == Who::Client,
            Code::DeniedByHuman | Code::TooManyOpen => mints,
            Code::AlreadyDecided | Code::FactsChanged | Code::PasskeyRequired => votes || cancels,
            Code::StateConflict => votes || enrols || cancels,
            Code::StepUpRequired => enrols,
            // Another page's doing, or a terminal's.
            Code::NotEligible => cancels || self.who == Who::Person && self.method == "post",
            Code::NotFound => {
                self.path.contains('{')
                    || matches!(self.path, "/oauth2/token" | "/v1/policy/explain" | NOTICE)
            }
            Code::RoleRequired => self.path == NOTICE,
        }
    }

    /// The status it comes with: OAuth knows few (RFC 6749 §5.2).
    pub(super) fn status(&self, code: Code) -> u16 {
        match (self.who, code.status()) {
            (Who::Client | Who::Refuser, 401 | 403 | 404 | 409 | 410 | 415) => 400,
            (_, status) => status,
        }
    }
}

const NOTICE: &str = "/v1/notify/test";

const ONCE: Parameter = Parameter {
    place: "header",
    name: "Idempotency-Key",
    about: "The same key of the same caller is the same ask: a retry never mints twice",
    pattern: "^[!-~]{1,255}$",
};

pub(super) const DPOP: Parameter = Parameter {
    place: "header",
    name: "DPoP",
    about: "A proof of the key that the credential is to be bound to (RFC 9449)",
    pattern: "^[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+$",
};

pub(super) const REQUEST: Parameter = Parameter {
    place: "path",
    name: "id",
    about: "`req_…`",
    pattern: "^req_[0-9a-z]{26}$",
};

/// Every route of every door.
pub(super) const ROWS: &[Row] = &[
    Row {
        method: "post",
        path: "/v1/grants",
        id: "grant",
        about: "Ask for a credential: recorded, then signed",
        who: Who::Caller,
        parameters: &[DPOP, ONCE],
        asks: Shape::Wire(|to| to.subschema_for::<wire::Ask>()),
        answers: &[
            (
                201,
                "Granted",
                Shape::Wire(|to| to.subschema_for::<wire::Granted>()),
            ),
            (
                202,
                "Held until people have voted",
                Shape::Wire(|to| to.subschema_for::<wire::Held>()),
            ),
        ],
    },
    Row {
        method: "post",
        path: "/v1/decisions",
        id: "decide",
        about: "The same ask as a dry run: nothing is recorded, minted or spent",
        who: Who::Caller,
        parameters: &[DPOP],
        asks: Shape::Wire(|to| to.subschema_for::<wire::Ask>()),
        answers: &[(
            200,
            "What the ask would become",
            Shape::Wire(|to| to.subschema_for::<wire::DryRun>()),
        )],
    },
    Row {
        method: "post",
        path: "/v1/whoami",
        id: "whoami",
        about: "The caller as the evidence makes it; spends nothing",
        who: Who::Caller,
        parameters: &[DPOP],
        asks: Shape::Nothing,
        answers: &[(
            200,
            "The caller",
            Shape::Wire(|to| to.subschema_for::<wire::WhoAmI>()),
        )],
    },
    open(
        "/v1/trust",
        "trust",
        "What to pin, and what evidence must be made for",
        &[(
            200,
            "All a client needs to know",
            Shape::Wire(|to| to.subschema_for::<wire::Trust>()),
        )],
    ),
    open(
        "/v1/trust/bundle",
        "trustBundle",
        "The root certificates",
        &[(200, "PEM", Shape::Text("application/x-pem-file"))],
    ),
    open(
        "/v1/policy",
        "policy",
        "Which policies decide",
        &[(200, "Their hash and serial", Shape::Json(policy))],
    ),
    open(
        "/v1/ledger/checkpoint",
        "checkpoint",
        "The ledger's newest signed head (C2SP tlog-checkpoint)",
        &[(200, "A signed note", Shape::Text("text/plain"))],
    ),
    Row {
        method: "get",
        path: "/v1/ledger/proofs/{id}",
        id: "proof",
        about: "The receipt of one of the caller's own entries under the newest checkpoint; spends nothing",
        who: Who::Caller,
        parameters: &[
            DPOP,
            Parameter {
                place: "path",
                name: "id",
                about: "`gr_…`, `dec_…`, `req_…` or `ent_…`, or its beginning: the kind and at least 6 characters",
                pattern: "^(gr|dec|req|ent|vote|task)_[0-9a-z]{6,26}$",
            },
        ],
        asks: Shape::Nothing,
        answers: &[(
            200,
            "A C2SP tlog-proof whose `extra` line is the header",
            Shape::Text("text/plain"),
        )],
    },
    Row {
        parameters: &[
            Parameter {
                place: "path",
                name: "level",
                about: "0 for leaf hashes",
                pattern: "^[0-7]$",
            },
            Parameter {
                place: "path",
                name: "place",
                about: "N in groups of three digits, `x` before all but the last, and `.p/W` for a partial tile",
                pattern: "^(x[0-9]{3}/)*[0-9]{3}(\\.p/[0-9]{1,3})?$",
            },
        ],
        ..open(
            "/v1/ledger/tile/{level}/{*place}",
            "tile",
            "Hashes of the ledger's tree (C2SP tlog-tiles)",
            &[(
                200,
                "1 to 256 hashes of 32 bytes",
                Shape::Text("application/octet-stream"),
            )],
        )
    },
    Row {
        parameters: &[Parameter {
            place: "path",
            name: "epoch",
            about: "0 for the first log, n for the one whose name ends in /n",
            pattern: "^(0|[1-9][0-9]{0,8})$",
        }],
        ..open(
            "/v1/ledger/{epoch}/checkpoint",
            "epoch_checkpoint",
            "The newest signed head of one epoch: of an earlier log, the last it had",
            &[(200, "A signed note", Shape::Text("text/plain"))],
        )
    },
    Row {
        parameters: &[
            Parameter {
                place: "path",
                name: "epoch",
                about: "0 for the first log, n for the one whose name ends in /n",
                pattern: "^(0|[1-9][0-9]{0,8})$",
            },
            Parameter {
                place: "path",
                name: "level",
                about: "0 for leaf hashes",
                pattern: "^[0-7]$",
            },
            Parameter {
                place: "path",
                name: "place",
                about: "N in groups of three digits, `x` before all but the last, and `.p/W` for a partial tile",
                pattern: "^(x[0-9]{3}/)*[0-9]{3}(\\.p/[0-9]{1,3})?$",
            },
        ],
        ..open(
            "/v1/ledger/{epoch}/tile/{level}/{*place}",
            "epoch_tile",
            "The same of one epoch: an earlier log stays readable",
            &[(
                200,
                "1 to 256 hashes of 32 bytes",
                Shape::Text("application/octet-stream"),
            )],
        )
    },
    open(
        "/v1/openapi.json",
        "openapi",
        "This document",
        &[(200, "OpenAPI 3.1", Shape::Json(object))],
    ),
    Row {
        who: Who::Refuser,
        ..open(
            "/oauth2/authorize",
            "authorize",
            "There is no authorization-code flow: 400",
            &[],
        )
    },
    Row {
        method: "post",
        path: "/oauth2/token",
        id: "token",
        about: "The same walk as a token exchange (RFC 8693)",
        who: Who::Client,
        parameters: &[DPOP, ONCE],
        asks: Shape::Form(grants),
        answers: &[
            (
                200,
                "Granted",
                Shape::Wire(|to| to.subschema_for::<wire::oauth::TokenGranted>()),
            ),
            (
                401,
                "`invalid_client`: it is not who the evidence says, or it tries what is not offered",
                Shape::Wire(|to| to.subschema_for::<wire::oauth::TokenRefused>()),
            ),
        ],
    },
    Row {
        method: "post",
        path: "/oauth2/revoke",
        id: "revoke",
        about: "Take back a deferred answer (RFC 7009): 200 whatever the code is",
        who: Who::Client,
        parameters: &[DPOP],
        asks: Shape::Form(revocation),
        answers: &[(
            200,
            "Taken back, or there was nothing to take back",
            Shape::Nothing,
        )],
    },
    open(
        "/oauth2/jwks",
        "jwks",
        "The keys that verify our JWTs (RFC 7517)",
        &[(200, "A JWK Set", Shape::Json(jwks))],
    ),
    open(
        "/.well-known/openid-configuration",
        "openidConfiguration",
        "OpenID Connect Discovery",
        &[(200, "Metadata", Shape::Json(metadata))],
    ),
    open(
        "/.well-known/oauth-authorization-server",
        "oauthMetadata",
        "Authorization server metadata (RFC 8414)",
        &[(200, "Metadata", Shape::Json(metadata))],
    ),
    operators("get", "/healthz"),
    operators("get", "/metrics"),
    operators("get", "/readyz"),
    operators("post", "/v1/backup"),
    operators("post", "/v1/callers/disable"),
    operators("post", "/v1/callers/enable"),
    operators("post", "/v1/callers/reset-passkeys"),
    operators("post", "/v1/freeze"),
    operators("post", "/v1/issuers/accept"),
    operators("get", "/v1/ledger/bundle"),
    operators("get", "/v1/ledger/checkpoint"),
    operators("get", "/v1/ledger/entries"),
    operators("get", "/v1/ledger/entries/{seq}"),
    operators("post", "/v1/ledger/erase"),
    operators("post", "/v1/ledger/prune"),
    operators("get", "/v1/ledger/events"),
    operators("get", "/v1/ledger/proofs/{id}"),
    operators("post", "/v1/ledger/scrub"),
    operators("get", "/v1/ledger/tile/entries/{*place}"),
    operators("get", "/v1/ledger/tile/{level}/{*place}"),
    operators("get", "/v1/ledger/{epoch}/bundle"),
    operators("get", "/v1/ledger/{epoch}/checkpoint"),
    operators("get", "/v1/ledger/{epoch}/tile/{level}/{*place}"),
    operators("post", "/v1/notify/test"),
    operators("post", "/v1/policy/reload"),
    operators("post", "/v1/unfreeze"),
];

const fn open(
    path: &'static str,
    id: &'static str,
    about: &'static str,
    answers: &'static [(u16, &'static str, Shape)],
) -> Row {
    Row {
        method: "get",
        path,
        id,
        about,
        who: Who::Anybody,
        parameters: &[],
        asks: Shape::Nothing,
        answers,
    }
}

const fn operators(method: &'static str, path: &'static str) -> Row {
    Row {
        method,
        path,
        id: "",
        about: "",
        who: Who::Operator,
        parameters: &[],
        asks: Shape::Nothing,
        answers: &[],
    }
}

fn policy() -> Value {
    json!({
        "type": "object", "required": ["policy_version", "serial"],
        "properties": {
            "policy_version": { "type": "string", "description": "Content address of the set in force" },
            "serial": { "type": ["integer", "null"], "description": "`serial` of policy.toml, where it counts" },
        },
    })
}

fn jwks() -> Value {
    json!({
        "type": "object", "required": ["keys"],
        "properties": { "keys": { "type": "array", "minItems": 1, "items": {
            "type": "object", "required": ["kty", "kid", "use", "alg"],
            "properties": {
                "kty": { "enum": ["EC", "OKP", "RSA"] }, "kid": { "type": "string" },
                "use": { "const": "sig" }, "alg": { "enum": ["ES256", "EdDSA", "RS256"] },
            },
        } } },
    })
}

fn metadata() -> Value {
    let url = || json!({ "type": "string", "format": "uri" });
    json!({
        "type": "object", "required": ["issuer", "jwks_uri"],
        "properties": { "issuer": url(), "jwks_uri": url() },
    })
}

fn object() -> Value {
    json!({ "type": "object", "required": ["openapi", "paths"] })
}

/// RFC 7009 §2.1.
fn revocation(_: &mut SchemaGenerator) -> Value {
    json!({
        "type": "object", "required": ["token"],
        "properties": {
            "token": { "type": "string", "description": "A deferral code" },
            "token_type_hint": { "type": "string", "description": wire::drafts::TOKEN_TYPE_DEFERRAL },
        },
    })
}

/// A deferred answer is asked for again by its code, and by nothing that was said before.
fn poll() -> Value {
    let text = |about: &str| json!({ "type": "string", "description": about });
    json!({
        "type": "object",
        "required": ["grant_type", wire::drafts::DEFERRAL_CODE],
        "properties": {
            "grant_type": { "const": wire::drafts::GRANT_TYPE_DEFERRED },
            "deferral_code": text("The handle, as `authorization_pending` gave it"),
            "client_assertion": text("A fresh token of the same run: what an approved answer is made of"),
            "client_assertion_type": { "const": wire::oauth::JWT_BEARER },
        },
    })
}

/// The two grant types of the token endpoint.
fn grants(to: &mut SchemaGenerator) -> Value {
    json!({ "oneOf": [exchange(to), poll()] })
}

/// RFC 8693 §2.1 and RFC 9396; parameters that are not known are not looked at (RFC 6749 §3.2).
fn exchange(to: &mut SchemaGenerator) -> Value {
    let text = |about: &str| json!({ "type": "string", "description": about });
    let details = to.subschema_for::<wire::oauth::StintTask>().to_value();
    json!({
        "type": "object",
        "required": ["grant_type", "subject_token", "subject_token_type"],
        "properties": {
            "grant_type": { "const": wire::oauth::TOKEN_EXCHANGE },
            "subject_token": text("The evidence"),
            "subject_token_type": { "enum": [
                "urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token", "jwt", "id_token",
            ] },
            "requested_token_type": text("What is wanted; a JWT if nothing is said"),
            "audience": text("For whom a JWT is; one, or one `resource`"),
            "resource": text("The same as an absolute URI"),
            "authorization_details": {
                "type": "string", "contentMediaType": "application/json",
                "contentSchema": { "type": "array", "minItems": 1, "maxItems": 1, "items": details },
                "description": "What is asked, as JSON; or `scope` is the action and the target its resource",
            },
            "scope": text("The short form's action"),
            "csr": text("Of a certificate: a PKCS#10 request, PEM or base64 DER"),
            "spki": text("Instead of a CSR: the key's SubjectPublicKeyInfo, base64 DER"),
            "completion_mode": text("`deferred` among others: a deferred answer is taken"),
        },
    })
}
