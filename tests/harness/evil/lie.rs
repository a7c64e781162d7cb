//! What an identity provider may do wrong.

/// The document a lie is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// `/.well-known/openid-configuration`.
    Discovery,
    /// The key set.
    Keys,
}

/// What the server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Nothing but the truth.
    None,

    // The connection.
    /// It takes connections and says nothing, not even TLS.
    SilentTcp,
    /// It closes connections at once.
    Closes,
    /// It speaks HTTP where TLS is expected.
    PlainHttp,
    /// Its certificate is for another name.
    OtherName,
    /// Its certificate is of an authority nobody named.
    OtherAuthority,
    /// Its certificate ended.
    EndedCertificate,

    // Either document.
    /// It never answers.
    Silent(Stage),
    /// A byte every 50 ms, for ever.
    Drip(Stage),
    /// A body without end, as fast as it can.
    Endless(Stage),
    /// A document padded to 300 KiB.
    Large(Stage),
    /// A page for people.
    Html(Stage),
    /// Compressed, unasked.
    Gzip(Stage),
    /// A redirect to where the truth is.
    Redirect(Stage),
    /// This status, with the truth in the body.
    Status(Stage, u16),
    /// Half a document.
    Mangled(Stage),
    /// A document that is no object.
    List(Stage),
    /// A member twice.
    Twice(Stage),
    /// Less than its length says.
    Short(Stage),
    /// Deeper than anybody needs.
    Deep(Stage),

    // Discovery.
    /// It speaks for somebody else.
    OtherIssuer,
    /// It speaks for itself with one more slash.
    Slash,
    /// The keys are on another host.
    OtherHost,
    /// The keys are on another port of this host.
    OtherPort,
    /// The keys are in the clear.
    ClearKeys,
    /// The place of the keys has a user and a password.
    UserInfo,
    /// The place of the keys is no URL.
    NoUrl,
    /// The place of the keys is a file.
    FileUrl,
    /// No word of where the keys are.
    NoPlace,
}
