//! What a caller wants: as the door took it down ([`Ask`]), and as the walk reads it ([`Asked`]).

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde_json::{Map, Value, json};
use stint_audit::Digest;
use stint_ca::{Authority, BoundTo, KeyError, Order, PrepareError, Serial, SubjectKey};
use stint_policy::{
    ActionId, AskDigest, Binding, Ceiling, CredentialKind, Input, PersonId, PolicySet, Query,
    Resources, Seconds, Vote, Want,
};
use thiserror::Error;

use super::{Broker, Case, Stop, unreadable};
use crate::authenticate::{Caller, ProofKind};
use crate::random;
use crate::task::Open;

/// An ask as the door took it down: its form is right, nothing in it is believed.
#[derive(Debug, Clone)]
pub struct Ask {
    /// `deploy` or `Action::"deploy"`.
    pub action: String,
    /// Cedar uids, in either spelling.
    pub resources: Vec<String>,
    /// What to mint.
    pub credential: CredentialAsk,
    /// The action's own input.
    pub input: Option<Map<String, Value>>,
    /// Life wanted.
    pub ttl: Option<Seconds>,
    /// The caller's own words.
    pub reason: Option<String>,
    /// A task by id or name.
    pub task: Option<String>,
    /// OAuth's `client_id`, where one was sent: it must be the caller's SPIFFE ID.
    pub client: Option<String>,
    /// Whether the door can carry a pending answer, and the client takes one (PROTOCOLS.md §1).
    pub may_hold: bool,
}

/// What to mint.
#[derive(Debug, Clone)]
pub struct CredentialAsk {
    /// Which sort.
    pub kind: KindAsked,
    /// The key to be certified.
    pub key: Option<KeyText>,
    /// A profile of `[ca.profile.NAME]`.
    pub profile: Option<String>,
    /// For whom a JWT is.
    pub audience: Option<String>,
}

/// The sorts of credential one can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KindAsked {
    /// An access token, and no other sort of JWT.
    AccessToken,
    /// The sort of JWT that its audience reads.
    Jwt,
    /// A word we do not know.
    Unsupported,
    /// A certificate.
    X509,
}

/// A subject key in one of its two forms.
#[derive(Debug, Clone)]
pub enum KeyText {
    /// PKCS#10.
    Csr(String),
    /// SubjectPublicKeyInfo, base64 DER.
    Spki(String),
}

/// What is wrong with the form of an ask. The caller is known by then, so each is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// The action is not in the schema.
    #[error("there is no action `{0}` in the schema of the policies in force")]
    Action(String),
    /// An operator shut the caller out.
    #[error("an operator has disabled this caller")]
    Disabled,
    /// A member's value is not allowed.
    #[error("`{name}` {text}")]
    Field {
        /// The member.
        name: &'static str,
        /// What is wrong with it.
        text: String,
    },
    /// The CSR or key is not usable.
    #[error("{0}")]
    Key(String),
    /// A resource's type is not in the schema.
    #[error("there is no resource type `{0}` in the schema of the policies in force")]
    ResourceType(String),
    /// The evidence names no task, and tasks cannot be opened otherwise yet.
    #[error("the evidence names no task: set `task` in its issuer's configuration")]
    TaskRequired,
    /// The task's deadline has passed.
    #[error("the task is over")]
    TaskOver,
    /// Its record would be larger than an entry may be.
    #[error("the ask is too large to be recorded: name fewer resources, or shorter ones")]
    TooLarge,
    /// No such credential.
    #[error("{0}")]
    Unsupported(&'static str),
}

/// An ask that was read: every name exists, the key is proved, the digest is fixed.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) action: ActionId,
    pub(super) resources: Resources,
    pub(super) want: Want,
    pub(super) key: Option<SubjectKey>,
    pub(super) proof: Option<[u8; 32]>,
    pub(super) input: Option<Input>,
    pub(super) digest: Digest,
    /// What the digest is of.
    pub(super) canonical: Vec<u8>,
}

impl Broker {
    /// Reads the ask against the schema in force and finds its task.
    pub(super) async fn read(
        &self,
        case: &Case<'_>,
        policy: &PolicySet,
    ) -> Result<Result<(Asked, Open), Fault>, Stop> {
        let named = case.ask.task.as_deref();
        let found = self
            .tasks
            .of(
                case.caller,
                named,
                (&self.store, self.people.is_some()),
                case.now,
            )
            .await;
        let task = match found.map_err(unreadable)? {
            Ok(task) => task,
            Err(fault) => return Ok(Err(fault)),
        };
        Ok(self
            .understand(case, policy, &task)
            .map(|asked| (asked, task)))
    }

    /// The same, ready to be minted.
    pub(super) async fn understood(
        &self,
        case: &Case<'_>,
        policy: &PolicySet,
    ) -> Result<Result<(Asked, Open), Fault>, Stop> {
        let read = self.read(case, policy).await?;
        Ok(read.and_then(|(asked, task)| Ok((asked.with_key()?, task))))
    }

    fn understand(&self, case: &Case<'_>, policy: &PolicySet, task: &Open) -> Result<Asked, Fault> {
        let ask = case.ask;
        let id = case.caller.principal().id.as_str();
        if ask.client.as_deref().is_some_and(|client| client != id) {
            return Err(field(
                "client_id",
                "is not this caller; leave it out, or send its SPIFFE ID",
            ));
        }
        let action = action(&ask.action, policy)?;
        let resources = resources(&ask.resources, policy)?;
        let key = ask.key(case.caller.proof())?;
        let proof = case
            .caller
            .proof()
            .or_else(|| key.as_ref().map(SubjectKey::thumbprint));
        let want = self.want(case)?;
        let input = ask.input.clone().map(Input::new);
        let canonical = self.canonical(case, task, (&action, &resources, &want, input.as_ref()))?;
        let digest = Digest::of(&canonical);
        Ok(Asked {
            action,
            resources,
            want,
            key,
            proof,
            input,
            digest,
            canonical,
        })
    }

    fn want(&self, case: &Case<'_>) -> Result<Want, Fault> {
        let asked = &case.ask.credential;
        let audience = asked.audience.as_deref();
        let binds = audience.is_none_or(|audience| self.ca.flavour_of(audience).binds());
        let bound = match case.caller.proof_kind() {
            Some(ProofKind::Tls { .. }) => Binding::Mtls,
            Some(ProofKind::Dpop | ProofKind::Key) => Binding::Dpop,
            None => Binding::Bearer,
        };
        let (kind, bind) = match (asked.kind, bound) {
            (KindAsked::AccessToken, _) if !binds => {
                return Err(field("audience", "reads no access tokens: ask for a `jwt`"));
            }
            (KindAsked::AccessToken | KindAsked::Jwt, bound) if binds => {
                (CredentialKind::Jwt, bound)
            }
            (KindAsked::AccessToken | KindAsked::Jwt, _) => (CredentialKind::Jwt, Binding::Bearer),
            (KindAsked::X509, _) => (CredentialKind::X509, Binding::Key),
            (KindAsked::Unsupported, _) => {
                return Err(Fault::Unsupported(
                    "credentials are of kind `x509` or `jwt`",
                ));
            }
        };
        let profile = asked
            .profile
            .clone()
            .unwrap_or_else(|| "default".to_owned());
        if !self.ca.has_profile(&profile) {
            return Err(Fault::Unsupported("there is no such profile"));
        }
        let ttl = case.ask.ttl.unwrap_or(self.terms.default_ttl);
        Ok(Want {
            kind,
            profile,
            bind,
            audience: asked.audience.clone(),
            ttl,
        })
    }

    /// The bytes of the ask's digest (POLICY.md §3.4): another byte is another ask.
    fn canonical(
        &self,
        case: &Case<'_>,
        task: &Open,
        (action, resources, want, input): (&ActionId, &Resources, &Want, Option<&Input>),
    ) -> Result<Vec<u8>, Fault> {
        let mut ask = json!({
            "v": 1,
            "log": self.ledger.origin(),
            "caller": case.caller.principal().id.as_str(),
            "task": task.task.name,
            "action": action.to_string(),
            "resources": resources.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "kind": want.kind.as_str(),
            "profile": want.profile,
            "ttl_s": want.ttl.as_u32(),
        });
        if let Some(members) = ask.as_object_mut() {
            members.extend(
                want.audience
                    .as_ref()
                    .map(|to| ("audience".to_owned(), json!(to))),
            );
            members.extend(
                input.map(|input| ("input".to_owned(), Value::Object(input.members().clone()))),
            );
        }
        let mut bytes = DIGEST_CONTEXT.to_vec();
        let canonical = stint_audit::canonical::canonical(&ask).map_err(|error| Fault::Field {
            name: "input",
            text: format!("cannot be recorded: {error}"),
        })?;
        bytes.extend_from_slice(&canonical);
        Ok(bytes)
    }

    /// The bounds that are known before policy is asked (inv. 7).
    pub(super) fn ceilings(&self, case: &Case<'_>, asked: &Asked, task: &Open) -> Vec<Ceiling> {
        let named = |name: &str, not_after| Ceiling {
            name: name.to_owned(),
            not_after,
        };
        let mut ceilings = self
            .ca
            .ceilings(
                asked.want.kind,
                (&asked.want.profile, asked.want.audience.as_deref()),
                case.now,
            )
            .unwrap_or_default();
        ceilings.push(named("policy.max_ttl", case.now.plus(self.terms.max_ttl)));
        ceilings.extend(task.task.deadline.map(|deadline| named("task", deadline)));
        ceilings.extend(case.caller.ceiling().cloned());
        ceilings
    }
}

impl Ask {
    /// The key to be certified. `proved`: the thumbprint of the one that was proved with this request, and by which a
    /// bare key is.
    pub(super) fn key(&self, proved: Option<[u8; 32]>) -> Result<Option<SubjectKey>, Fault> {
        let unusable = |error: KeyError| Fault::Key(error.to_string());
        match (
            self.credential.kind,
            &self.credential.key,
            &self.credential.audience,
        ) {
            (KindAsked::X509, _, Some(_)) => Err(field("audience", "is for JWTs; leave it out")),
            (KindAsked::X509, None, None) => Ok(None),
            (KindAsked::X509, Some(KeyText::Csr(csr)), None) => {
                SubjectKey::from_csr(csr).map(Some).map_err(unusable)
            }
            (KindAsked::X509, Some(KeyText::Spki(spki)), None) => bare(spki, proved).map(Some),
            (KindAsked::AccessToken | KindAsked::Jwt, Some(_), _) => {
                Err(field("credential", "of kind `jwt` takes no key"))
            }
            (KindAsked::AccessToken | KindAsked::Jwt, None, None) => {
                Err(field("audience", "is missing: whom is the JWT for?"))
            }
            (KindAsked::AccessToken | KindAsked::Jwt | KindAsked::Unsupported, None, _)
            | (KindAsked::Unsupported, Some(_), _) => Ok(None),
        }
    }
}

impl Asked {
    /// Ready to be minted: a certificate is of a key. A dry run needs none.
    pub(super) fn with_key(self) -> Result<Self, Fault> {
        if self.want.kind == CredentialKind::X509 && self.key.is_none() {
            return Err(field(
                "credential",
                "of kind `x509` needs a `csr` or an `spki`",
            ));
        }
        Ok(self)
    }

    /// The persons whose own ask it is: their votes do not count.
    pub(super) fn own(&self, task: &Open, case: &Case<'_>) -> BTreeSet<PersonId> {
        let person = case.caller.principal().person.as_ref();
        let own = task.task.initiator.iter().chain(person);
        own.map(PersonId::new).collect()
    }

    /// The question to policy.
    pub(super) fn query<'a>(
        &'a self,
        (task, ceilings): (&'a Open, &'a [Ceiling]),
        case: &'a Case<'a>,
        (own, votes): (&'a BTreeSet<PersonId>, &'a [Vote]),
    ) -> Query<'a> {
        Query {
            now: case.now,
            caller: case.caller.principal(),
            subject: None,
            actors: &[],
            consent: None,
            subject_bound: false,
            own,
            task: &task.task,
            history: &task.history,
            action: &self.action,
            resources: &self.resources,
            input: self.input.as_ref(),
            want: &self.want,
            ceilings,
            digest: AskDigest(*self.digest.as_bytes()),
            votes,
        }
    }

    /// What the CA needs beside the grant. Serial and `jti` are drawn here, since `prepare` is pure.
    pub(super) fn order(&self, caller: &Caller, ca: &Authority) -> Order {
        match &self.key {
            Some(key) => Order::X509 {
                key: key.clone(),
                serial: Serial::from_random(random::bytes()),
            },
            None => Order::Jwt {
                jti: random::bytes(),
                confirmation: self.bound_to(caller),
                claims: self.claims(caller, ca),
            },
        }
    }

    /// What a bound token is good with: the very key or certificate that was proved.
    fn bound_to(&self, caller: &Caller) -> Option<BoundTo> {
        match (self.want.bind, caller.proof_kind()) {
            (Binding::Bearer, _) | (_, None) => None,
            (_, Some(ProofKind::Tls { certificate })) => Some(BoundTo::Certificate(certificate)),
            (_, Some(ProofKind::Dpop | ProofKind::Key)) => self.proof.map(BoundTo::Key),
        }
    }

    /// The claims that the audience's names are made of, where they are one text.
    fn claims(&self, caller: &Caller, ca: &Authority) -> BTreeMap<String, String> {
        let claims = &caller.principal().claims;
        let platform = claims.platform.as_ref().map(|(_, record)| record);
        let value = |name: &str| {
            let found = platform.and_then(|record| record.get(name));
            match found.or_else(|| claims.extra.get(name))? {
                stint_policy::Value::String(text) => Some((name.to_owned(), text.clone())),
                stint_policy::Value::Long(number) => Some((name.to_owned(), number.to_string())),
                stint_policy::Value::Bool(_) | stint_policy::Value::Strings(_) => None,
            }
        };
        let audience = self.want.audience.as_deref();
        let named = audience
            .into_iter()
            .flat_map(|audience| ca.claims_of(audience));
        named.filter_map(value).collect()
    }

    /// The ask as its request keeps it: what the digest is of, and the caller's own words.
    pub(super) fn described(&self, reason: Option<&str>) -> String {
        let canonical = self
            .canonical
            .get(DIGEST_CONTEXT.len()..)
            .unwrap_or_default();
        let ask: Value = serde_json::from_slice(canonical).unwrap_or_default();
        json!({ "ask": ask, "reason": reason }).to_string()
    }

    /// `deploy Environment::"prod/web"`.
    pub(super) fn in_words(&self) -> String {
        let resources: Vec<_> = self.resources.iter().map(ToString::to_string).collect();
        format!("{} {}", self.action.name(), resources.join(", "))
    }

    /// The digest as tables and requests name it.
    pub(super) fn digest_text(&self) -> String {
        self.digest.to_string()
    }
}

/// A bare key, which must be the one that was proved with this request (PROTOCOLS.md §3.3).
fn bare(spki: &str, proved: Option<[u8; 32]>) -> Result<SubjectKey, Fault> {
    let wrong = |text: &str| Fault::Key(text.to_owned());
    let der = BASE64URL_NOPAD.decode(spki.as_bytes());
    let der = der.or_else(|_| BASE64.decode(spki.as_bytes()));
    let der = der.or(Err(wrong(
        "the `spki` is not base64url of a SubjectPublicKeyInfo",
    )))?;
    let key = SubjectKey::from_spki_der(&der).map_err(|error| Fault::Key(error.to_string()))?;
    match proved {
        Some(proved) if proved == key.thumbprint() => Ok(key),
        Some(_) => Err(wrong(
            "the `spki` is not the key that was proved with this request",
        )),
        None => Err(wrong(
            "an `spki` alone proves no key: add a DPoP proof by it, or send a `csr`",
        )),
    }
}

fn action(text: &str, policy: &PolicySet) -> Result<ActionId, Fault> {
    let known = ActionId::parse(text)
        .ok()
        .and_then(|action| policy.resolve_action(&action));
    // Delegation is consent, never an ask (POLICY.md §1.1).
    let known = known.filter(|action| action.to_string() != "Stint::Action::\"delegate\"");
    known.ok_or_else(|| Fault::Action(text.to_owned()))
}

fn resources(texts: &[String], policy: &PolicySet) -> Result<Resources, Fault> {
    if texts.iter().map(String::len).sum::<usize>() > MAX_RESOURCES {
        return Err(field("resources", "are longer than 16 KiB together"));
    }
    let malformed = |error| field("resources", &format!("cannot be read: {error}"));
    let named = Resources::parse(texts).map_err(malformed)?;
    let known = named.iter().map(|resource| {
        let unknown = || Fault::ResourceType(resource.type_name().to_owned());
        policy.resolve_resource(resource).ok_or_else(unknown)
    });
    Resources::new(known.collect::<Result<_, _>>()?).map_err(malformed)
}

fn field(name: &'static str, text: &str) -> Fault {
    Fault::Field {
        name,
        text: text.to_owned(),
    }
}

impl From<PrepareError> for Fault {
    fn from(error: PrepareError) -> Self {
        Self::Key(error.to_string())
    }
}

/// So that no ask can make an entry that is too large to record (LEDGER.md §2).
const MAX_RESOURCES: usize = 16 * 1024;

const DIGEST_CONTEXT: &[u8] = b"stint/ask/v1\n";
