//! From arguments to a session and an ask: what `run`, `cert`, `token`, `can` and `whoami` share.

use std::{fs, io};

use stint_client::{CertificateKey, Client, Error, Keeper, Outcome, Session, SessionKey, Source};
use stint_policy::{ActionId, Resources};
use stint_wire::{Ask, Credential, CredentialAsk, CredentialKind, Granted, Token};

use crate::args::{AskArgs, EvidenceArgs, Kind};
use crate::exit::Exit;
use crate::hold::{Hold, Patience};
use crate::output::{Failure, Output};
use crate::settings::{self, Settings};
use crate::words;
use crate::workspace::Base;

/// Runs the calls of a verb to their end, on this thread; nothing of the runtime is left when a command starts.
///
/// # Errors
/// As the calls, or exit 1 if there is no runtime.
pub(crate) fn block_on<T>(calls: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(calls)
}

/// A session with the source the arguments name.
///
/// # Errors
/// Exit 4 without evidence.
pub(crate) fn open<'a>(
    client: &'a Client,
    settings: &Settings,
    args: &EvidenceArgs,
    output: &Output,
) -> Result<Session<'a>, Failure> {
    let source = settings.source(args)?;
    output.detail("evidence", source.describe());
    open_on(client, source, args)
}

/// A session with a source that is known already; stdin is read once only. The key is in memory where each call brings
/// a fresh token; else it is kept beside the token, under the token's hash, so that the job's next command proves the
/// same.
///
/// # Errors
/// Exit 125 if there is no place for a key.
pub(crate) fn open_on<'a>(
    client: &'a Client,
    source: Source,
    args: &EvidenceArgs,
) -> Result<Session<'a>, Failure> {
    let repeats = source.repeats();
    let session = client.session(source);
    Ok(match (args.bearer, repeats) {
        (true, _) => session,
        (false, true) => session.prove_kept(keeper(settings::base()?)),
        (false, false) => session.prove(SessionKey::generate()?),
    })
}

/// Session keys in files under `base`.
fn keeper(base: Base) -> Keeper {
    Keeper::new(move |name| {
        let make = || {
            let key = SessionKey::generate().map_err(io::Error::other)?;
            Ok(key.pkcs8().to_vec())
        };
        let kept = base.keep(&format!("session-{name}.key"), make);
        SessionKey::from_pkcs8(&kept.map_err(Error::Keep)?)
    })
}

/// What kind the flags mean: an audience makes it a JWT.
///
/// # Errors
/// Exit 2 where they contradict.
pub(crate) fn kind(credential: Option<Kind>, audience: Option<&String>) -> Result<Kind, Failure> {
    match (credential, audience) {
        (Some(Kind::Jwt), None) => Err(Failure::new(Exit::Usage, "a JWT needs --audience")),
        (Some(Kind::X509), Some(_)) => {
            Err(Failure::new(Exit::Usage, "a certificate has no --audience"))
        }
        (Some(kind), _) => Ok(kind),
        (None, Some(_)) => Ok(Kind::Jwt),
        (None, None) => Ok(Kind::X509),
    }
}

/// The ask without a key, action and resources in canonical form, so that a slip shows before anything is sent.
///
/// # Errors
/// Exit 2, naming the member.
pub(crate) fn ask(
    args: &AskArgs,
    settings: &Settings,
    kind: Kind,
    audience: Option<&String>,
) -> Result<Ask, Failure> {
    let usage = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, error);
    let action = ActionId::parse(&args.action).map_err(|error| usage(&error))?;
    let resources = Resources::parse(&args.resources).map_err(|error| usage(&error))?;
    let input = args.input.as_deref().map(serde_json::from_str).transpose();
    let on_behalf_of = args.evidence.on_behalf_of_file.as_deref().map(|path| {
        fs::read_to_string(path)
            .map(|token| Token::new(token.trim().to_owned()))
            .map_err(|error| settings::unreadable(path, &error))
    });
    Ok(Ask {
        action: action.to_string(),
        resources: resources.iter().map(ToString::to_string).collect(),
        credential: CredentialAsk {
            kind: match kind {
                Kind::Jwt => CredentialKind::Jwt,
                Kind::X509 => CredentialKind::X509,
            },
            csr: None,
            spki: None,
            profile: args.profile.clone(),
            audience: audience.cloned(),
        },
        input: input.map_err(|error| {
            Failure::new(Exit::Usage, format!("--input is no JSON object: {error}"))
        })?,
        ttl_s: args.ttl.map(stint_policy::Seconds::as_u32),
        reason: args.reason.clone().or_else(|| settings.reason.clone()),
        task: args.task.clone().or_else(|| settings.task.clone()),
        audience: None,
        on_behalf_of: on_behalf_of.transpose()?,
    })
}

/// A credential, with the key that was made for it.
#[derive(Debug)]
pub(crate) struct Obtained {
    pub(crate) granted: Box<Granted>,
    pub(crate) key: Option<CertificateKey>,
}

impl Obtained {
    /// The files of UX.md §2 item 5 as `(name, content)`.
    pub(crate) fn files(&self) -> Vec<(&'static str, String)> {
        let mut files = match &self.granted.credential {
            Credential::Jwt { token, .. } => vec![("jwt", token.expose().to_owned())],
            Credential::X509 {
                certificate, chain, ..
            } => vec![("cert.pem", format!("{certificate}{}", chain.concat()))],
        };
        files.extend(
            self.key
                .as_ref()
                .map(|key| ("key.pem", key.pem().to_owned())),
        );
        files.push(("bundle.pem", self.granted.trust_bundle.clone()));
        files.push(("expires_at", format!("{}\n", self.granted.expires_at)));
        files
    }

    /// The API's 201 with a schema, and the key that the API never sees.
    pub(crate) fn json(&self) -> Result<String, Failure> {
        let mut json =
            serde_json::to_value(&self.granted).map_err(|error| Failure::new(Exit::Bug, error))?;
        if let Some(members) = json.as_object_mut() {
            members.insert("schema".into(), "stint.grant/v1".into());
            members.extend(
                self.key
                    .as_ref()
                    .map(|key| ("private_key".into(), key.pem().into())),
            );
        }
        Ok(format!("{json}\n"))
    }
}

/// Gives an ask for a certificate that has no CSR a new key. A dry run needs one too: that it can be proven is among the
/// things a policy may ask for.
///
/// # Errors
/// If no key can be made.
pub(crate) fn give_key(ask: &mut Ask) -> Result<Option<CertificateKey>, Failure> {
    if ask.credential.kind != CredentialKind::X509 || ask.credential.csr.is_some() {
        return Ok(None);
    }
    let (key, with_csr) = stint_client::x509(ask.action.clone(), ask.resources.clone())?;
    ask.credential.csr = with_csr.credential.csr;
    Ok(Some(key))
}

/// Asks for a credential and says what came of it. A certificate without a CSR gets a new key.
///
/// # Errors
/// Exit 5 when held and nobody waits, 3 when denied, and so on (UX.md §1.1).
pub(crate) fn obtain(
    mut ask: Ask,
    evidence: &EvidenceArgs,
    (settings, output): (&Settings, &Output),
    patience: Patience,
) -> Result<Obtained, Failure> {
    let key = give_key(&mut ask)?;
    let client = settings.client()?;
    let session = open(&client, settings, evidence, output)?;
    let granted = block_on(async {
        match session.grant(&ask).await? {
            Outcome::Granted(granted) => Ok(granted),
            Outcome::Held(pending) => {
                let hold = Hold {
                    session: &session,
                    settings,
                    output,
                    asked_s: ask.ttl_s,
                };
                hold.out(*pending, patience).await
            }
        }
    })?;
    output.talk("granted", words::granted(&granted));
    Ok(Obtained { granted, key })
}
