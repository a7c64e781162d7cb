//! `[audience.NAME]`: for whom JWTs are minted, where the audience's name does not say all (PROTOCOLS.md §3.10).
//!
//! A template that could give two callers the same `sub`, or one longer than the relying party reads, does not load:
//! which claims an issuer's callers have, and how long they can be, is known from the issuers' own tables.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use stint_ca::signer::Algorithm;
use stint_ca::{AudienceError, AudienceParts, Part};
use stint_policy::Seconds;
use toml::de::DeValue;

use super::choices::{Flavour, JwtAlg, TokenAlg};
use super::declare::settings;
use super::issuer::Issuer;
use super::reader::{Check, Reader, Table};
use super::setting::{Place, Word, Wrong};
use super::tables::{Config, Jwt};
use super::words::text;

settings! {
    /// For whom JWTs are minted, where the audience's name does not say all: which sort of token it reads, and how it
    /// knows a caller. An audience without a table gets an access token.
    pub struct Audience {
        required {
            /// The audience, byte for byte as callers ask for it and as `aud` says it.
            aud: String,
        }
        default {
            /// access-token (RFC 9068), jwt-svid (SPIFFE), or federation: an OIDC token for a cloud or a cluster.
            flavour: Flavour = Flavour::AccessToken;
            /// The algorithm of its signature. Without it: RS256 for federation, else that of [jwt].
            alg: Option<TokenAlg> = None;
            /// How `sub` is made: {spiffe_id}, {path}, {claim.NAME} of immutable claims, each also hashed as {path:h},
            /// and text between. Only a federation token has another than {spiffe_id}.
            sub_template: SubTemplate = SubTemplate::default();
            /// The longest `sub` the relying party takes, in bytes. A template that could exceed it does not load.
            sub_max: u32 = 2048, in 1..=2048;
            /// Claims that every federation token carries as they stand here.
            claims: Fixed = Fixed::default();
            /// The longest life.
            max_ttl: Seconds = Seconds::new(3600), in Seconds::new(30)..=Seconds::new(86_400);
        }
    }
}

impl Check for Audience {
    fn check(&self, table: &Table<'_, '_>, reader: &mut Reader<'_>) {
        // As a caller can ask for it, at either door.
        let visible = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        let named = (1..=MAX_AUD).contains(&self.aud.len());
        if !named || !self.aud.bytes().all(visible) {
            let label = "1 to 1,024 bytes of visible ASCII without quotes";
            let wrong = Wrong::new("is no audience", label);
            table.refuse("aud", wrong, reader);
        }
    }
}

impl Audience {
    /// The audience as the CA mints for it. `name`: of its table; `issuers`: those whose claims its template may take.
    ///
    /// # Errors
    /// What a standard forbids.
    pub fn build(
        &self,
        name: &str,
        jwt: &Jwt,
        issuers: &BTreeMap<String, Issuer>,
    ) -> Result<stint_ca::Audience, AudienceError> {
        let able = self.able(issuers).map(|(name, _)| name.clone());
        stint_ca::Audience::new(AudienceParts {
            name: name.to_owned(),
            aud: self.aud.clone(),
            flavour: match self.flavour {
                Flavour::AccessToken => stint_ca::Flavour::AccessToken,
                Flavour::Federation => stint_ca::Flavour::Federation,
                Flavour::JwtSvid => stint_ca::Flavour::JwtSvid,
            },
            algorithm: self.algorithm(jwt),
            sub: self.sub_template.read.clone(),
            sub_max: usize::try_from(self.sub_max).unwrap_or(usize::MAX),
            issuers: able.collect(),
            claims: self.claims.0.clone(),
            max_ttl: self.max_ttl,
        })
    }

    fn algorithm(&self, jwt: &Jwt) -> Algorithm {
        match (self.alg, self.flavour, jwt.alg) {
            (Some(TokenAlg::Rs256), _, _) | (None, Flavour::Federation, _) => Algorithm::Rs256,
            (Some(TokenAlg::Es256), _, _) => Algorithm::Es256,
            (Some(TokenAlg::EdDsa), _, _) => Algorithm::Ed25519,
            (None, Flavour::AccessToken | Flavour::JwtSvid, JwtAlg::Es256) => Algorithm::Es256,
            (None, Flavour::AccessToken | Flavour::JwtSvid, JwtAlg::EdDsa) => Algorithm::Ed25519,
        }
    }

    /// The issuers whose callers have every claim of the template, unchangeable.
    fn able<'i>(
        &self,
        issuers: &'i BTreeMap<String, Issuer>,
    ) -> impl Iterator<Item = (&'i String, &'i Issuer)> {
        let claims: Vec<String> = self.sub_template.read.claims().map(str::to_owned).collect();
        issuers.iter().filter(move |(_, issuer)| {
            let mut claims = claims.iter();
            claims.all(|claim| issuer.entry.longest_immutable(claim).is_some())
        })
    }

    /// What is wrong with the template beside these issuers.
    fn misnames(&self, issuers: &BTreeMap<String, Issuer>) -> Result<(), String> {
        let template = &self.sub_template.read;
        let able: Vec<_> = self.able(issuers).collect();
        let claims: BTreeSet<&str> = template.claims().collect();
        if able.is_empty() && !claims.is_empty() {
            let claims: Vec<_> = claims.into_iter().collect();
            let claims = claims.join("`, `");
            return Err(format!(
                "takes `{claims}`, and no issuer has that as an immutable claim"
            ));
        }
        if !template.names_the_caller() {
            if let [(one, _), (other, _), ..] = able.as_slice() {
                return Err(format!(
                    "could give a caller of [issuer.{one}] and one of [issuer.{other}] the same `sub`: add {{path}}"
                ));
            }
            let ids = able.iter().flat_map(|(_, issuer)| issuer.entry.id_claims());
            if let Some(missing) = ids.into_iter().find(|id| !claims.contains(id)) {
                return Err(format!(
                    "could give two callers the same `sub`: their identity holds `{missing}`, and it does not"
                ));
            }
        }
        let longest = able.iter().map(|(_, issuer)| self.longest(issuer)).max();
        let most = usize::try_from(self.sub_max).unwrap_or(usize::MAX);
        match longest.filter(|longest| *longest > most) {
            Some(longest) => Err(format!(
                "can be {longest} bytes long, and `sub_max` is {most}: a hash such as {{path:h}} has 32"
            )),
            None => Ok(()),
        }
    }

    fn longest(&self, issuer: &Issuer) -> usize {
        let entry = &issuer.entry;
        self.sub_template.read.longest(|part| match part {
            Part::Claim(name) => entry.longest_immutable(name).unwrap_or(0),
            Part::Path => entry.longest_path(),
            Part::SpiffeId => entry.longest_spiffe_id(),
            Part::Hash(_) | Part::Literal(_) => 0,
        })
    }
}

/// What contradicts other tables.
pub(super) fn check(config: &Config, table: &Table<'_, '_>, reader: &mut Reader<'_>) {
    let mut seen = BTreeMap::new();
    for (name, audience) in &config.audiences {
        let mut refuse = |key: &str, text: String| {
            let text = format!("is wrong: `{key}` of [audience.{name}] {text}");
            table.refuse("audience", Wrong::new(text, ""), reader);
        };
        if let Some(other) = seen.insert(&audience.aud, name) {
            refuse("aud", format!("is that of [audience.{other}] too"));
        }
        let algorithm = audience.algorithm(&config.jwt);
        let there = match algorithm {
            Algorithm::Rs256 => config.jwt.rs256.is_some(),
            Algorithm::Es256 => config.jwt.alg == JwtAlg::Es256,
            Algorithm::Ed25519 => config.jwt.alg == JwtAlg::EdDsa,
        };
        if !there {
            let alg = algorithm.jose();
            let text = format!("is {alg}, and [jwt] has no such key: set `rs256` or `alg` there");
            refuse("alg", text);
        }
        if let Err(error) = audience.build(name, &config.jwt, &config.issuers) {
            refuse("flavour", format!("cannot be with the rest: {error}"));
        } else if let Err(text) = audience.misnames(&config.issuers) {
            refuse("sub_template", text);
        }
    }
}

/// How `sub` is made, and how it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubTemplate {
    text: String,
    read: stint_ca::SubTemplate,
}

impl Default for SubTemplate {
    fn default() -> SubTemplate {
        SubTemplate {
            text: "{spiffe_id}".to_owned(),
            read: stint_ca::SubTemplate::spiffe_id(),
        }
    }
}

impl Word for SubTemplate {
    const WANTS: &'static str = "a template such as \"{spiffe_id}\"";

    fn parse(value: &DeValue<'_>, _: &Place<'_>) -> Result<SubTemplate, Wrong> {
        let text = text::<SubTemplate>(value)?;
        match stint_ca::SubTemplate::parse(text) {
            Ok(read) => Ok(SubTemplate {
                text: text.to_owned(),
                read,
            }),
            Err(error) => Err(Wrong::new(error.to_string(), "")),
        }
    }

    fn json(&self) -> Value {
        Value::from(self.text.as_str())
    }
}

/// Claims as they stand in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fixed(Map<String, Value>);

impl Word for Fixed {
    const WANTS: &'static str = "a table of claims";

    fn schema() -> Value {
        serde_json::json!({ "type": "object" })
    }

    fn parse(value: &DeValue<'_>, _: &Place<'_>) -> Result<Fixed, Wrong> {
        match json(value, DEPTH) {
            Some(Value::Object(claims)) => Ok(Fixed(claims)),
            Some(_) => Err(Wrong::kind::<Fixed>(value)),
            None => {
                let label = "texts, whole numbers, true, false, and lists and tables of them";
                Err(Wrong::new("holds what a claim cannot", label))
            }
        }
    }

    fn json(&self) -> Value {
        Value::Object(self.0.clone())
    }
}

/// JSON as every reader takes it: no fractions, no dates, no integers above 2⁵³−1.
fn json(value: &DeValue<'_>, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    match value {
        DeValue::String(text) => Some(Value::from(text.as_ref())),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
            .ok()
            .filter(|number| number.unsigned_abs() < 1 << 53)
            .map(Value::from),
        DeValue::Boolean(truth) => Some(Value::from(*truth)),
        DeValue::Array(items) => items
            .iter()
            .map(|item| json(item.get_ref(), depth))
            .collect(),
        DeValue::Table(table) => {
            let members = table.iter();
            let member = |(key, value): (_, &toml::Spanned<DeValue<'_>>)| {
                let key: &toml::Spanned<std::borrow::Cow<'_, str>> = key;
                Some((key.get_ref().to_string(), json(value.get_ref(), depth)?))
            };
            members
                .map(member)
                .collect::<Option<_>>()
                .map(Value::Object)
        }
        DeValue::Float(_) | DeValue::Datetime(_) => None,
    }
}

/// As long as the longest name evidence may carry (SECURITY.md §4).
const MAX_AUD: usize = 1_024;
/// Half of what readers of JWTs take.
const DEPTH: usize = 8;
