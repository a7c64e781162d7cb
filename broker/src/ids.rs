//! Ids that get their meaning in the broker: a prefix and 128 random bits.

stint_policy::prefixed_id! {
    /// One decision. Its characters are those of the entry that records it.
    DecisionId, "dec_"
}
stint_policy::prefixed_id! {
    /// An entry that is nothing else's id.
    EntryId, "ent_"
}
stint_policy::prefixed_id! {
    /// A fault of ours, for the caller to quote and the operator to find in the log.
    ErrorId, "err_"
}
stint_policy::prefixed_id! {
    /// An ask that waits for people.
    RequestId, "req_"
}

stint_policy::prefixed_id! {
    /// One person's yes or no.
    VoteId, "vote_"
}

impl DecisionId {
    /// The decision that an entry or request `id` records: the same characters.
    #[must_use]
    pub fn of(id: &str) -> String {
        id.split_once('_').map_or_else(
            || id.to_owned(),
            |(_, characters)| format!("dec_{characters}"),
        )
    }
}
