//! Settings that are one of a few words.

use serde_json::{Value, json};
use toml::de::DeValue;

use super::nearest::nearest;
use super::setting::{Place, Word, Wrong};
use super::words::text;

/// Declares settings that are one of a few words.
macro_rules! choices {
    ($($(#[doc = $about:literal])+ pub enum $name:ident {
        $($(#[doc = $doc:literal])+ $variant:ident = $word:literal,)+
    })+) => {$(
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $doc])+ $variant,)+ }

        impl $name {
            #[doc = "The word in the file."]
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }

        impl Word for $name {
            const WANTS: &'static str = concat!("one of", $(" \"", $word, "\""),+);

            fn schema() -> Value {
                json!({ "enum": [$($word),+] })
            }

            fn parse(value: &DeValue<'_>, _: &Place<'_>) -> Result<$name, Wrong> {
                match text::<$name>(value)? {
                    $($word => Ok($name::$variant),)+
                    other => Err(unknown_word(other, &[$($word),+], Self::WANTS)),
                }
            }

            fn json(&self) -> Value {
                json!(self.as_str())
            }
        }
    )+};
}

choices! {
    /// Who vouches for a caller that has no token.
    pub enum AttestKind {
        /// A certificate of an existing PKI.
        ClientCert = "client-cert",
    }

    /// What the callers of an attestor are.
    pub enum Callers {
        /// Something that acts by itself, on what it reads.
        Agent = "agent",
        /// A job, a service, a machine.
        Workload = "workload",
    }

    /// What a notice is about.
    pub enum NotifyEvent {
        /// What an operator should see at once.
        Alarm = "alarm",
        /// What a request came to.
        Decided = "decided",
        /// An ask that waits.
        Request = "request",
    }

    /// What reads notices.
    pub enum NotifyKind {
        /// Slack, by an incoming webhook.
        Slack = "slack",
        /// People's mail.
        Smtp = "smtp",
        /// Any program: JSON over HTTP, signed as Standard Webhooks says.
        Webhook = "webhook",
    }

    /// What a trusted proxy says of its client's certificate.
    pub enum ProxyClientCert {
        /// Nothing that counts.
        Ignored = "ignored",
        /// `Client-Cert` and `Client-Cert-Chain` (RFC 9440).
        Rfc9440 = "rfc9440",
    }

    /// The algorithm of the JWTs that the broker signs.
    pub enum JwtAlg {
        /// ECDSA on P-256: read by everybody.
        Es256 = "ES256",
        /// Ed25519.
        EdDsa = "EdDSA",
    }

    /// Which sort of JWT an audience reads.
    pub enum Flavour {
        /// RFC 9068: says what may be done.
        AccessToken = "access-token",
        /// An OIDC token for a cloud or a cluster: says who.
        Federation = "federation",
        /// SPIFFE JWT-SVID.
        JwtSvid = "jwt-svid",
    }

    /// The algorithm of an audience's tokens.
    pub enum TokenAlg {
        /// ECDSA on P-256.
        Es256 = "ES256",
        /// Ed25519.
        EdDsa = "EdDSA",
        /// RSA, with the operator's own key.
        Rs256 = "RS256",
    }

    /// What a certificate may be used for.
    pub enum Usage {
        /// To prove oneself to a server.
        Client = "client",
        /// To serve.
        Server = "server",
    }

    /// What of a grant becomes a certificate's common name.
    pub enum CnFrom {
        /// The SPIFFE ID, where it is no longer than 64 characters.
        Caller = "caller",
        /// The grant's id.
        Grant = "grant",
        /// The task's id.
        Task = "task",
        /// The task's name, where it is no longer than 64 characters.
        TaskName = "task_name",
    }

    /// When a changed policy takes force.
    pub enum Reload {
        /// On SIGHUP only.
        Signal = "signal",
        /// As soon as a file of it is written, and on SIGHUP.
        Watch = "watch",
    }

    /// How the entries of the ledger look to a sink.
    pub enum SinkKind {
        /// CloudEvents 1.0, JSON.
        CloudEvents = "cloudevents",
        /// The entry itself.
        Jsonl = "jsonl",
        /// OCSF 1.7.
        Ocsf = "ocsf",
        /// The log as C2SP tiles and entry bundles, in the folder that `to` names. No bodies.
        Tiles = "tiles",
    }

    /// What a caller who is denied reads of the policy.
    pub enum Reveal {
        /// Ids of policies and names of conditions, and the caller's own values beside them.
        Names = "names",
        /// The policies' texts too.
        Full = "full",
    }

    /// Whether an approver shows that somebody looks at the run.
    pub enum MatchCode {
        /// They do not.
        Off = "off",
        /// They type the digits that only the asker is shown.
        Type = "type",
    }

    /// How log lines look.
    pub enum LogFormat {
        /// Text on a terminal, JSON elsewhere.
        Auto = "auto",
        /// One JSON object a line.
        Json = "json",
        /// For people.
        Text = "text",
    }
}

fn unknown_word(word: &str, known: &[&str], wants: &str) -> Wrong {
    let near = nearest(word, known);
    let label = near.map_or(wants.to_owned(), |near| format!("did you mean `{near}`?"));
    Wrong::new(format!("does not know the word `{word}`"), label)
}
