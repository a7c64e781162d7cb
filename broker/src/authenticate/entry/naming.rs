//! What an entry says of the names of its callers before any comes: which claims never change hands, and how long each
//! can be. An audience's `sub_template` is held against it (PROTOCOLS.md §3.10).

use crate::authenticate::claims::{Claim, Nature, Shape};
use crate::authenticate::entry::IssuerEntry;

impl IssuerEntry {
    /// The most bytes of this claim, if the caller keeps it and it is never given to anybody else.
    #[must_use]
    pub fn longest_immutable(&self, name: &str) -> Option<usize> {
        let claim = self.kept().find(|claim| claim.name == name)?;
        (claim.nature == Nature::Immutable).then(|| longest(claim.shape))
    }

    /// The claims an identity is made of.
    pub fn id_claims(&self) -> impl Iterator<Item = &str> {
        self.id.placeholders()
    }

    /// The most bytes of a SPIFFE ID's path, without its leading slash.
    #[must_use]
    pub fn longest_path(&self) -> usize {
        let of = |name: &str| {
            let mut claims = self.kept().chain(&self.beside);
            let claim = claims.find(|claim| claim.name == name);
            claim.map_or(LONGEST_TEXT, |claim| longest(claim.shape))
        };
        self.name.len() + 1 + self.id.length(of)
    }

    /// The most bytes of a SPIFFE ID.
    #[must_use]
    pub fn longest_spiffe_id(&self) -> usize {
        let path = self.name.len() + 1;
        (self.prefix.len() + self.longest_path()).saturating_sub(path)
    }

    /// What a caller's claims hold later on.
    fn kept(&self) -> impl Iterator<Item = &Claim> {
        self.record.iter().chain(&self.extra)
    }
}

fn longest(shape: Shape) -> usize {
    match shape {
        Shape::Bool | Shape::StringBool => "false".len(),
        Shape::Id => 255,
        // 2⁵³−1 and a sign.
        Shape::Integer | Shape::StringInteger => 17,
        Shape::Path | Shape::Strings | Shape::Tags | Shape::Text => LONGEST_TEXT,
    }
}

const LONGEST_TEXT: usize = 1_024;
