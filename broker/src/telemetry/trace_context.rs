//! The trace a caller says its request belongs to: `traceparent` of W3C Trace Context, level 1.
//!
//! Its id is kept for the log, so that an operator finds our line from theirs. It is 32 hex digits or nothing: a
//! header that is malformed, doubled or all zeros is as good as none (§3.2.2.3), and `tracestate` is not read, for we
//! have nothing to pass it to. No header is sent back: level 1 defines none for answers.

/// The id of the caller's trace, in lower-case hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceId([u8; 32]);

impl TraceId {
    /// Reads `version "-" trace-id "-" parent-id "-" flags`.
    pub(crate) fn parse(header: &str) -> Option<TraceId> {
        let mut fields = header.split('-');
        let version = hex::<2>(fields.next()?)?;
        let trace = hex::<32>(fields.next()?)?;
        let parent = hex::<16>(fields.next()?)?;
        hex::<2>(fields.next()?)?;
        // A later version may go on after a dash; version 0 may not (§3.2.2.3).
        let ends = fields.next().is_none() || &version != b"00";
        let zeros = |digits: &[u8]| digits.iter().all(|digit| *digit == b'0');
        (ends && &version != b"ff" && !zeros(&trace) && !zeros(&parent)).then_some(TraceId(trace))
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Exactly so many lower-case hex digits.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits: [u8; N] = text.as_bytes().try_into().ok()?;
    let legal = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    digits.iter().all(legal).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::TraceId;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn the_published_example_is_read_and_a_later_version_too() {
        for header in [
            format!("00-{ID}-00f067aa0ba902b7-01"),
            format!("01-{ID}-00f067aa0ba902b7-00-more-of-it"),
        ] {
            let id = TraceId::parse(&header).map(|id| id.as_str().to_owned());
            assert_eq!(id.as_deref(), Some(ID), "{header}");
        }
    }

    #[test]
    fn what_is_malformed_is_as_good_as_none() {
        for header in [
            "",
            "00",
            &format!("00-{ID}-00f067aa0ba902b7"),
            &format!("00-{ID}-00f067aa0ba902b7-01-more"),
            &format!("00-{ID}-00f067aa0ba902b7-1"),
            &format!("ff-{ID}-00f067aa0ba902b7-01"),
            &format!("00-{}-00f067aa0ba902b7-01", ID.to_uppercase()),
            &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            &format!("00-{ID}-{}-01", "0".repeat(16)),
            &format!("00-{}-00f067aa0ba902b7-01", "\n".repeat(32)),
            &format!("00-{}-00f067aa0ba902b7-01", ID.repeat(200)),
        ] {
            assert_eq!(TraceId::parse(header), None, "{header}");
        }
    }
}
