//! One row of a preset's table: a claim, its type, what may be built on it, and the word everybody has for it.

use crate::authenticate::claims::{Nature, Need, Shape};

/// A claim as a preset knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// What templates, `only` and policy call it.
    pub(super) name: &'static str,
    pub(super) from: From,
    pub(super) shape: Shape,
    pub(super) need: Need,
    pub(super) nature: Nature,
    pub(super) place: Place,
    pub(super) word: Option<Word>,
    /// How long its values are at least: for what ids will be like.
    pub(super) least: usize,
}

/// Where its value is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// The preset makes it of other claims, in `check`.
    Check,
    /// The member of its name.
    Name,
    /// The members that lead to it, outermost first.
    Path(&'static [&'static str]),
}

/// Who gets to see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Templates, `only` and `origin`.
    Beside,
    /// The preset's own checks alone: what they show is no rule for anybody to build on.
    Inner,
    /// Policy too: it is a member of the platform's record.
    Record,
}

/// Its word in `context.origin`. Where two rows have the same, the later one counts if it is there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Word {
    /// The value as it is.
    Is(&'static str),
    /// Their words and ours; whatever is not among them is `other`, never a guess.
    Means(&'static str, Words),
}

/// Their words and ours.
pub(super) type Words = &'static [(&'static str, &'static str)];

/// An id that is never given to anybody else.
pub(super) const fn id(name: &'static str) -> Row {
    Row {
        name,
        from: From::Name,
        shape: Shape::Id,
        need: Need::Optional,
        nature: Nature::Immutable,
        place: Place::Record,
        word: None,
        least: 1,
    }
}

/// An id that is a UUID: 36 characters.
pub(super) const fn uuid(name: &'static str) -> Row {
    Row {
        least: 36,
        ..id(name)
    }
}

/// A name that people can give away, of what the claim `of` identifies.
pub(super) const fn name(name: &'static str, of: &'static str) -> Row {
    Row {
        shape: Shape::Text,
        nature: Nature::NameOf(of),
        ..id(name)
    }
}

/// Something that was so when the token was made.
pub(super) const fn fact(name: &'static str, shape: Shape) -> Row {
    Row {
        shape,
        nature: Nature::Fact,
        ..id(name)
    }
}

/// A fact that is a text.
pub(super) const fn text(name: &'static str) -> Row {
    fact(name, Shape::Text)
}

impl Row {
    /// A token without it is no evidence.
    pub(super) const fn required(self) -> Row {
        Row {
            need: Need::Required,
            ..self
        }
    }

    /// The platform sends null where there is none.
    pub(super) const fn nullable(self) -> Row {
        Row {
            need: Need::Nullable,
            ..self
        }
    }

    /// It lies deeper, or has another name in the token.
    pub(super) const fn at(self, path: &'static [&'static str]) -> Row {
        Row {
            from: From::Path(path),
            ..self
        }
    }

    pub(super) const fn made_by_check(self) -> Row {
        Row {
            from: From::Check,
            ..self
        }
    }

    pub(super) const fn of_shape(self, shape: Shape) -> Row {
        Row { shape, ..self }
    }

    pub(super) const fn beside(self) -> Row {
        Row {
            place: Place::Beside,
            ..self
        }
    }

    pub(super) const fn inner(self) -> Row {
        Row {
            place: Place::Inner,
            ..self
        }
    }

    pub(super) const fn is(self, word: &'static str) -> Row {
        Row {
            word: Some(Word::Is(word)),
            ..self
        }
    }

    pub(super) const fn means(self, word: &'static str, words: Words) -> Row {
        Row {
            word: Some(Word::Means(word, words)),
            ..self
        }
    }
}
