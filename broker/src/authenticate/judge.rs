//! What a verified token says, check by check (IDENTITY.md §2.1, 8 to 14), and the [`Caller`] it makes.

use serde_json::Value as Json;
use stint_policy::{Attributes, Ceiling, Claims, Principal, Seconds, SpiffeId, Timestamp, Value};

use crate::authenticate::claims::{Claim, is_id, spelled};
use crate::authenticate::entry::IssuerEntry;
use crate::authenticate::jws::{EvidenceHeader, Payload, Verified};
use crate::authenticate::keys::sha256;
use crate::authenticate::preset::{Facts, FoundBy, Header, Lives, Presence, Preset};
use crate::authenticate::{Caller, LEEWAY, Label, Proof, Replay, Seen, TaskEvidence};

impl IssuerEntry {
    /// Judges what this entry's key signed. `typ`: in capitals.
    ///
    /// # Errors
    /// The label of the first check that failed.
    pub(super) fn judge(
        &self,
        token: &Verified,
        typ: Option<&str>,
        proof: Option<Proof>,
        now: Timestamp,
    ) -> Result<Caller, Label> {
        self.check_typ(typ)?;
        let payload = token.payload();
        if found_at(payload, self.preset.found_by) != Some(&self.url) {
            return Err(Label::Issuer);
        }
        let registered = Registered::read(payload, self.preset, now)?;
        if registered.aud != self.audience {
            return Err(Label::Audience);
        }
        registered.check_times(now)?;
        let earliest = moment(registered.earliest(self.cap));
        if self.cut_off.is_some_and(|end| earliest < end) {
            return Err(Label::CutOff);
        }
        registered.check_life(self.cap)?;
        let claims = self.claims(payload)?;
        let found = |name: &str| claims.find(name);
        let path = self.id.render(found)?.ok_or(Label::Claims)?;
        let id = SpiffeId::parse(&format!("{}{path}", self.prefix)).or(Err(Label::Claims))?;
        if id.as_str().len() > MAX_ID {
            return Err(Label::Claims);
        }
        let task = self.task_evidence(&claims)?;
        let owner = match &self.owner {
            Some(template) => template.render(found)?,
            None => None,
        };
        Ok(Caller {
            owner,
            task,
            replay: Some(self.replay(token, &registered)?),
            proof,
            seen: Seen {
                digest: token.digest(),
                issued: moment(registered.iat),
                expires: moment(registered.exp),
                key: token.key(),
            },
            ceiling: self.ceiling(&registered),
            principal: Principal {
                id,
                kind: self.kind,
                issuer: self.name.to_string(),
                preset: self.preset.name.to_owned(),
                claims: claims.into_policy(self.preset.record),
                groups: Default::default(),
                owner: None,
                person: None,
                attested: Default::default(),
            },
        })
    }

    /// Where the standard of a platform's tokens ends their header, whatever is beyond it was not meant for us.
    pub(super) fn check_header(&self, header: &EvidenceHeader<'_>) -> Result<(), Label> {
        match (self.preset.header, header.more) {
            (Header::Bare, true) => Err(Label::Header),
            (Header::Bare, false) | (Header::Open, _) => Ok(()),
        }
    }

    /// Only a plain JWT is evidence: `at+jwt`, `dpop+jwt` and whatever else has a name of its own was made for
    /// something else.
    fn check_typ(&self, typ: Option<&str>) -> Result<(), Label> {
        let admitted = match typ {
            Some(typ) => self.preset.typ.contains(&typ),
            None => self.preset.typed == Presence::Optional,
        };
        match admitted {
            true => Ok(()),
            false => Err(Label::Typ),
        }
    }

    /// Typed claims, the preset's own checks, then `only`.
    fn claims(&self, payload: &Payload) -> Result<Typed, Label> {
        let mut facts = Facts {
            record: read(&self.record, payload)?,
            beside: read(&self.beside, payload)?,
            inner: read(&self.inner, payload)?,
            url: &self.url,
            rules: &self.rules,
            rows: self.preset.claims,
        };
        let extra = read(&self.extra, payload)?;
        (self.preset.check)(&mut facts)?;
        if !facts.is_whole() {
            return Err(Label::Claims);
        }
        let mut origin = facts.origin();
        (self.preset.refine)(&facts, &mut origin);
        let typed = Typed {
            record: facts.record,
            beside: facts.beside,
            extra,
            origin,
        };
        let holds = |name: &str, values: &std::collections::BTreeSet<String>| {
            typed
                .find(name)
                .and_then(spelled)
                .is_some_and(|value| values.contains(value.as_ref()))
        };
        match self.only.iter().all(|(name, values)| holds(name, values)) {
            true => Ok(typed),
            false => Err(Label::NotAdmitted),
        }
    }

    fn task_evidence(&self, claims: &Typed) -> Result<Option<TaskEvidence>, Label> {
        let Some(template) = &self.task else {
            return Ok(None);
        };
        let Some(path) = template.render(|name| claims.find(name))? else {
            return Ok(None);
        };
        let name = format!("{}:{path}", self.name);
        if name.len() > MAX_TASK {
            return Err(Label::Claims);
        }
        let account = self
            .initiator
            .as_deref()
            .and_then(|claim| claims.find(claim));
        let initiator = account
            .and_then(spelled)
            .map(|account| account.into_owned());
        Ok(Some(TaskEvidence {
            name,
            initiator,
            life: self.task_life,
        }))
    }

    fn replay(&self, token: &Verified, registered: &Registered<'_>) -> Result<Replay, Label> {
        let name = self.name.as_bytes();
        // A name has no line break, and the words before it keep the two kinds of keys apart.
        let key = match (registered.jti, self.preset.has_jti) {
            (Some(jti), _) => [b"stint/replay/jti\n", name, b"\n", jti.as_bytes()].concat(),
            (None, Presence::Optional) => {
                [b"stint/replay/jws\n", name, b"\n", &token.digest()].concat()
            }
            (None, Presence::Required) => return Err(Label::Claims),
        };
        let until = moment(registered.exp).plus(LEEWAY).plus(REMEMBERED);
        Ok(Replay {
            key: sha256(&key),
            reuse: self.reuse,
            until,
        })
    }

    fn ceiling(&self, registered: &Registered<'_>) -> Option<Ceiling> {
        match self.preset.lives {
            Lives::Task => None,
            Lives::Token => Some(Ceiling {
                name: "evidence".to_owned(),
                not_after: moment(registered.exp),
            }),
        }
    }
}

/// Refuses a token whose `exp` is past before a key is looked for: that saves a fetch and a signature.
pub(super) fn not_long_over(untrusted: &Payload, now: Timestamp) -> Result<(), Label> {
    let exp = seconds(untrusted, "exp")?.ok_or(Label::Claims)?;
    match moment(exp).plus(LEEWAY) <= now {
        true => Err(Label::Expired),
        false => Ok(()),
    }
}

/// What an entry is found by: `iss`, or `spiffe://` and the trust domain of `sub`.
pub(super) fn found_at(payload: &Payload, place: FoundBy) -> Option<&str> {
    let text = |claim| payload.get(claim).and_then(Json::as_str);
    match place {
        FoundBy::Issuer => text("iss"),
        FoundBy::TrustDomain => {
            let sub = text("sub")?;
            let domain = sub.strip_prefix("spiffe://")?.split('/').next()?;
            sub.get(.."spiffe://".len() + domain.len())
        }
    }
}

/// `aud`, a string or an array of exactly one.
pub(super) fn one_audience(payload: &Payload) -> Result<&str, Label> {
    match payload.get("aud") {
        Some(Json::String(audience)) => Ok(audience),
        Some(Json::Array(list)) => match list.as_slice() {
            [Json::String(audience)] => Ok(audience),
            _ => Err(Label::Audience),
        },
        _ => Err(Label::Audience),
    }
}

/// The claims every token has, of RFC 7519 §4.1. Times are seconds since 1970, 0 to 2⁵³−1.
#[derive(Clone, Copy, Debug)]
struct Registered<'a> {
    aud: &'a str,
    jti: Option<&'a str>,
    exp: i64,
    /// When it was made; when it is seen, where it does not say and need not.
    iat: i64,
    says_iat: bool,
    nbf: Option<i64>,
}

impl<'a> Registered<'a> {
    fn read(
        payload: &'a Payload,
        preset: &Preset,
        now: Timestamp,
    ) -> Result<Registered<'a>, Label> {
        let said = seconds(payload, "iat")?;
        let iat = match (said, preset.has_iat) {
            (Some(iat), _) => iat,
            (None, Presence::Optional) => now.as_secs(),
            (None, Presence::Required) => return Err(Label::Claims),
        };
        Ok(Registered {
            aud: one_audience(payload)?,
            jti: text(payload, preset.jti, is_id)?,
            exp: seconds(payload, "exp")?.ok_or(Label::Claims)?,
            iat,
            says_iat: said.is_some(),
            nbf: seconds(payload, "nbf")?,
        })
    }

    /// When it can have been made at the earliest: who does not say may have made it as long ago as its life allows, and
    /// a cut-off counts against it.
    fn earliest(&self, cap: Seconds) -> i64 {
        match self.says_iat {
            true => self.iat,
            false => self.exp.saturating_sub(i64::from(cap.as_u32())),
        }
    }

    fn check_times(&self, now: Timestamp) -> Result<(), Label> {
        if self.exp <= self.iat {
            return Err(Label::Lifetime);
        }
        if moment(self.exp).plus(LEEWAY) <= now {
            return Err(Label::Expired);
        }
        let latest = now.plus(LEEWAY);
        match self.nbf.is_some_and(|nbf| moment(nbf) > latest) || moment(self.iat) > latest {
            true => Err(Label::Early),
            false => Ok(()),
        }
    }

    fn check_life(&self, cap: Seconds) -> Result<(), Label> {
        match self.exp - self.iat > i64::from(cap.as_u32()) {
            true => Err(Label::Lifetime),
            false => Ok(()),
        }
    }
}

/// Claims with their types, by the names config and policy use.
#[derive(Debug)]
struct Typed {
    record: Attributes,
    beside: Attributes,
    extra: Attributes,
    origin: Attributes,
}

impl Typed {
    fn find(&self, name: &str) -> Option<&Value> {
        [&self.record, &self.beside, &self.extra]
            .into_iter()
            .find_map(|claims| claims.get(name))
    }

    fn into_policy(self, record: Option<&str>) -> Claims {
        let platform = record.map(|name| (name.to_owned(), self.record));
        Claims {
            origin: self.origin,
            platform,
            extra: self.extra,
        }
    }
}

fn read(claims: &[Claim], payload: &Payload) -> Result<Attributes, Label> {
    let mut typed = Attributes::new();
    for claim in claims {
        if let Some(value) = claim.read(payload)? {
            typed.insert(claim.name.clone(), value);
        }
    }
    Ok(typed)
}

/// A whole number of seconds that is not negative; floats and numbers in strings are neither.
fn seconds(payload: &Payload, claim: &str) -> Result<Option<i64>, Label> {
    let Some(value) = payload.get(claim) else {
        return Ok(None);
    };
    value
        .as_i64()
        .filter(|seconds| *seconds >= 0)
        .map(Some)
        .ok_or(Label::Claims)
}

fn text<'p>(
    payload: &'p Payload,
    claim: &str,
    form: fn(&str) -> bool,
) -> Result<Option<&'p str>, Label> {
    let Some(value) = payload.get(claim) else {
        return Ok(None);
    };
    value
        .as_str()
        .filter(|text| form(text))
        .map(Some)
        .ok_or(Label::Claims)
}

fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds.saturating_mul(1000))
}

/// IDENTITY.md §1.3: the ids we make.
pub(super) const MAX_ID: usize = 512;

/// IDENTITY.md §1.2.
pub(super) const MAX_TASK: usize = 255;

/// How long past `exp` and leeway a replay key is kept (IDENTITY.md §2.2).
const REMEMBERED: Seconds = Seconds::new(60);
