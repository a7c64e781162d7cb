//! `[server] tls`: who ends TLS, and under which certificate.

use std::path::PathBuf;

use serde_json::{Value, json};
use toml::de::{DeTable, DeValue};

use super::secret::SecretRef;
use super::setting::{Place, Word, Wrong};

/// Who ends TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// The broker.
    Own(TlsFiles),
    /// A proxy on this host or network; it reaches the listener in the clear.
    Proxy,
}

/// What the broker shows, and what it proves it with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the listener's certificate, then those that lead to its root.
    pub cert: PathBuf,
    /// Its key: PKCS #8, SEC 1 or PKCS #1, PEM.
    pub key: SecretRef,
}

impl Word for Tls {
    const WANTS: &'static str = "\"proxy\" or { cert = PATH, key = { file = PATH } }";

    fn schema() -> Value {
        json!({ "anyOf": [{ "const": "proxy" }, {
            "type": "object", "required": ["cert", "key"], "additionalProperties": false,
            "properties": { "cert": { "type": "string" }, "key": SecretRef::schema() },
        }] })
    }

    fn parse(value: &DeValue<'_>, place: &Place<'_>) -> Result<Tls, Wrong> {
        match value {
            DeValue::String(word) if word == "proxy" => Ok(Tls::Proxy),
            DeValue::Table(table) => own(table, place).map(Tls::Own),
            DeValue::String(word) => Err(Wrong::new(
                format!("does not know the word `{word}`"),
                Self::WANTS,
            )),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => Err(Wrong::kind::<Tls>(value)),
        }
    }

    fn json(&self) -> Value {
        match self {
            Tls::Own(TlsFiles { cert, key }) => {
                json!({ "cert": cert.display().to_string(), "key": key.json() })
            }
            Tls::Proxy => json!("proxy"),
        }
    }

    fn caution(&self) -> Option<&'static str> {
        match self {
            Tls::Own(files) => files.key.caution(),
            Tls::Proxy => None,
        }
    }
}

/// Both members and no other. What the files hold is judged where they are loaded: it may change later.
fn own(table: &DeTable<'_>, place: &Place<'_>) -> Result<TlsFiles, Wrong> {
    let known = |name: &str| matches!(name, "cert" | "key");
    if let Some(name) = table.keys().find(|name| !known(name.get_ref())) {
        let text = format!("has an unknown member `{}`", name.get_ref());
        return Err(Wrong::new(text, Tls::WANTS));
    }
    let (Some(cert), Some(key)) = (table.get("cert"), table.get("key")) else {
        return Err(Wrong::new("needs both `cert` and `key`", Tls::WANTS));
    };
    let in_key = |wrong: Wrong| Wrong::new(format!("`key` {}", wrong.text), wrong.label);
    let in_cert = |wrong: Wrong| Wrong::new(format!("`cert` {}", wrong.text), wrong.label);
    Ok(TlsFiles {
        cert: PathBuf::parse(cert.get_ref(), place).map_err(in_cert)?,
        key: SecretRef::parse(key.get_ref(), place).map_err(in_key)?,
    })
}
