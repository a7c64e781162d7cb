//! A policy set in force: its files, its address, its compiled rules.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::BASE64URL_NOPAD;
use ring::digest::{SHA256, digest};
use serde_json::json;

use crate::decision::PolicyHash;
use crate::engine::Engine;
use crate::engine::schema::STINT;
use crate::lint::Finding;
use crate::spiffe::SpiffeId;
use crate::uid::{ActionId, Resource, Uid};

/// The files of one policy directory: path with `/` to bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    /// No files: a valid set, which denies all.
    #[must_use]
    pub fn new() -> Files {
        Files::default()
    }

    /// Adds a file, or replaces it.
    pub fn insert(&mut self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.insert(path.into(), bytes.into());
    }

    /// The bytes of one file.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        self.0.get(path).map(Vec::as_slice)
    }

    /// All of them, by path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0
            .iter()
            .map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
    }

    /// SHA-256 of each file as base64url, the compiled-in `stint.cedarschema` among them.
    #[must_use]
    pub fn digests(&self) -> BTreeMap<String, String> {
        let ours = [(OURS, STINT.as_bytes())];
        let hashed = |(path, bytes): (&str, &[u8])| {
            (
                path.to_owned(),
                BASE64URL_NOPAD.encode(digest(&SHA256, bytes).as_ref()),
            )
        };
        self.iter().chain(ours).map(hashed).collect()
    }

    /// The content address: SHA-256 of JCS `{"files":{PATH:h,…},"v":1}` (LEDGER.md §3). Paths are ASCII, so that the
    /// order of bytes is JCS's.
    pub(crate) fn hash(&self) -> PolicyHash {
        let manifest = json!({"files": self.digests(), "v": 1}).to_string();
        let mut hash = [0; 32];
        for (to, from) in hash
            .iter_mut()
            .zip(digest(&SHA256, manifest.as_bytes()).as_ref())
        {
            *to = *from;
        }
        PolicyHash::from_bytes(hash)
    }
}

impl<P: Into<String>, B: Into<Vec<u8>>> FromIterator<(P, B)> for Files {
    fn from_iter<T: IntoIterator<Item = (P, B)>>(files: T) -> Files {
        Files(
            files
                .into_iter()
                .map(|(path, bytes)| (path.into(), bytes.into()))
                .collect(),
        )
    }
}

/// POLICY.md §1.3 whole, with tests for each policy: what `stintd dev` and `stintd init` begin with.
#[must_use]
pub fn sample() -> Files {
    [
        (
            "schema.cedarschema",
            include_str!("../sample/schema.cedarschema"),
        ),
        ("web.cedar", include_str!("../sample/web.cedar")),
        ("data.cedar", include_str!("../sample/data.cedar")),
        ("entities.json", include_str!("../sample/entities.json")),
        (
            "tests/sample.toml",
            include_str!("../sample/tests/sample.toml"),
        ),
        ("tests/data.toml", include_str!("../sample/tests/data.toml")),
    ]
    .into_iter()
    .collect()
}

/// The schema that is compiled into this version, and part of each set's address under the name `stint.cedarschema`.
#[must_use]
pub const fn schema() -> &'static str {
    STINT
}

/// Policies, entities and schema of one moment, valid as a whole. It never changes; a reload builds another.
#[derive(Debug)]
pub struct PolicySet {
    files: Files,
    hash: PolicyHash,
    serial: Option<u64>,
    warnings: Vec<Finding>,
    engine: Engine,
}

impl PolicySet {
    pub(crate) fn new(files: Files, serial: Option<u64>, engine: Engine) -> PolicySet {
        PolicySet {
            hash: files.hash(),
            files,
            serial,
            warnings: Vec::new(),
            engine,
        }
    }

    pub(crate) fn with_warnings(self, warnings: Vec<Finding>) -> PolicySet {
        PolicySet { warnings, ..self }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The content address; what entries name as `pol`.
    #[must_use]
    pub fn hash(&self) -> PolicyHash {
        self.hash
    }

    /// `serial` of `policy.toml`, at least 1; none without that file.
    #[must_use]
    pub fn serial(&self) -> Option<u64> {
        self.serial
    }

    /// The files it was built from.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// What could be better, in order of files and lines.
    #[must_use]
    pub fn warnings(&self) -> &[Finding] {
        &self.warnings
    }

    /// How many policies it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.engine.rules.len()
    }

    /// Whether it has none, and so denies all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.engine.rules.is_empty()
    }

    /// Whether any policy waits for people's votes.
    #[must_use]
    pub fn asks_people(&self) -> bool {
        self.engine.rules.iter().any(|rule| rule.gate.is_some())
    }

    /// The action by its canonical name, if this set has it: a bare `identify` is Stint's own unless the operator
    /// declares one.
    #[must_use]
    pub fn resolve_action(&self, action: &ActionId) -> Option<ActionId> {
        self.engine.resolve_action(action)
    }

    /// The resource by its canonical name, if this set has its type.
    #[must_use]
    pub fn resolve_resource(&self, resource: &Resource) -> Option<Resource> {
        self.engine.resolve_resource(resource)
    }

    /// Whether this set has the action.
    #[must_use]
    pub fn action_known(&self, action: &ActionId) -> bool {
        self.engine.resolve_action(action).is_some()
    }

    /// Whether this set has the resource's type.
    #[must_use]
    pub fn type_known(&self, resource: &Resource) -> bool {
        self.engine.resolve_resource(resource).is_some()
    }

    /// Whether `entities.json` lists this group.
    #[must_use]
    pub fn has_group(&self, name: &str) -> bool {
        Uid::new("Stint::Group", name).is_some_and(|group| self.engine.store.get(&group).is_some())
    }

    /// Workloads and agents that these groups own, by `entities.json`: their SPIFFE IDs.
    #[must_use]
    pub fn owned_by(&self, groups: &BTreeSet<String>) -> Vec<String> {
        let machine = |uid: &Uid| matches!(uid.type_name(), "Stint::Workload" | "Stint::Agent");
        let listed = self.engine.store.iter().filter(|(uid, _)| machine(uid));
        let owned = listed.filter(|(_, listed)| {
            let owner = listed.links.get("owner");
            owner.is_some_and(|owner| groups.contains(owner.id()))
        });
        let mut owned: Vec<String> = owned.map(|(uid, _)| uid.id().to_owned()).collect();
        owned.sort();
        owned
    }

    /// Each policy: its id, whose it is, its file and its first line.
    pub fn policies(&self) -> impl Iterator<Item = PolicyPlace<'_>> {
        self.engine.rules.iter().map(|rule| PolicyPlace {
            id: &rule.id,
            owner: rule.annotations.owner.as_deref(),
            file: &rule.place.file,
            line: rule.place.line,
        })
    }

    /// The name of the group that owns a workload or agent, by `entities.json`.
    #[must_use]
    pub fn owner_of(&self, id: &SpiffeId) -> Option<String> {
        let listed = ["Stint::Workload", "Stint::Agent"]
            .into_iter()
            .filter_map(|type_name| {
                let uid = Uid::new(type_name, id.as_str())?;
                Some(
                    self.engine
                        .store
                        .get(&uid)?
                        .links
                        .get("owner")?
                        .id()
                        .to_owned(),
                )
            });
        listed.into_iter().next()
    }
}

/// Where a policy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyPlace<'a> {
    /// Its id.
    pub id: &'a str,
    /// The group of its `@owner`.
    pub owner: Option<&'a str>,
    /// Its file.
    pub file: &'a str,
    /// Its first line, from 1.
    pub line: usize,
}

const OURS: &str = "stint.cedarschema";
