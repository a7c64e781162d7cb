//! The head of an HTTP/1 request, as far as framing goes: where it ends, and how long its body is.
//!
//! hyper decides between `Content-Length` and `Transfer-Encoding` in silence. Two servers that decide differently are how
//! one request becomes two (request smuggling), so whatever leaves a choice is refused: 400 and close (SECURITY.md §4).

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes, which may be none.
    Length(u64),
    /// Chunks: the answer to them is the connection's last, so that nobody has to agree where they end.
    Chunked,
}

/// Why a head is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadFault {
    /// It did not come in time.
    Late,
    /// It has no one meaning.
    Malformed,
    /// It is too long, or has too many fields.
    TooLarge,
}

/// Where the head at the start of `bytes` ends, if it does. Its first line is not empty, and the first `known` bytes were
/// looked at before.
///
/// # Errors
/// [`HeadFault::Malformed`] for a line that ends otherwise than in CRLF: readers disagree about those.
pub(super) fn end(bytes: &[u8], known: usize) -> Result<Option<usize>, HeadFault> {
    let new = bytes.get(known..).unwrap_or_default();
    for at in new.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        let upto = bytes.get(..=known + at.0).unwrap_or_default();
        if !upto.ends_with(b"\r\n") {
            return Err(HeadFault::Malformed);
        }
        if upto.ends_with(b"\r\n\r\n") {
            return Ok(Some(upto.len()));
        }
    }
    Ok(None)
}

/// What follows `head`, which ends in an empty line.
///
/// # Errors
/// [`HeadFault::TooLarge`] for more than 64 fields. [`HeadFault::Malformed`] for what is no field, for a length that is
/// no number or comes twice, for any other transfer coding than `chunked`, alone and once, and for both.
pub(super) fn framing(head: &[u8]) -> Result<Framing, HeadFault> {
    let mut lines = head.split(|byte| *byte == b'\n').skip(1);
    let (mut length, mut chunked, mut fields) = (None, false, 0);
    for line in lines.by_ref() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        fields += 1;
        if fields > MAX_FIELDS {
            return Err(HeadFault::TooLarge);
        }
        let (name, value) = field(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            if length.replace(number(value)?).is_some() {
                return Err(HeadFault::Malformed);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(HeadFault::Malformed);
            }
            chunked = true;
        }
    }
    match (length, chunked) {
        (Some(_), true) => Err(HeadFault::Malformed),
        (None, true) => Ok(Framing::Chunked),
        (length, false) => Ok(Framing::Length(length.unwrap_or(0))),
    }
}

/// `name: value`. A name is a token, with nothing between it and its colon (RFC 9112 §5.1); a line that begins with a
/// space would continue the one before, and has no name.
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), HeadFault> {
    let colon = line.iter().position(|byte| *byte == b':');
    let (name, value) = colon
        .and_then(|at| line.split_at_checked(at))
        .ok_or(HeadFault::Malformed)?;
    let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    let control = |b: &u8| *b < b' ' && *b != b'\t' || *b == 0x7f;
    if name.is_empty() || !name.iter().all(token) || value.iter().any(control) {
        return Err(HeadFault::Malformed);
    }
    Ok((name, value.get(1..).unwrap_or_default().trim_ascii()))
}

/// Digits and nothing else, of any length that makes sense: hyper has meanings of its own for the largest numbers.
fn number(digits: &[u8]) -> Result<u64, HeadFault> {
    let text = std::str::from_utf8(digits).ok();
    text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .filter(|length| *length <= u64::MAX / 2)
        .ok_or(HeadFault::Malformed)
}

/// A head, its first line too (SECURITY.md §4).
pub(super) const MAX_HEAD: usize = 16 * 1024;
/// Its fields (SECURITY.md §4).
pub(crate) const MAX_FIELDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::{Framing, HeadFault, MAX_FIELDS, end, framing};

    #[test]
    fn a_head_ends_at_its_first_empty_line() {
        for (bytes, at) in [
            ("", None),
            ("GET / HTTP/1.1\r\n", None),
            ("GET / HTTP/1.1\r\n\r", None),
            ("GET / HTTP/1.1\r\n\r\n", Some(18)),
            ("GET / HTTP/1.1\r\na: b\r\n\r\nGET", Some(24)),
        ] {
            for known in 0..=at.map_or(bytes.len(), |at| at - 1) {
                assert_eq!(end(bytes.as_bytes(), known), Ok(at), "{bytes:?} {known}");
            }
        }
        for bytes in ["\n", "GET / HTTP/1.1\n\n", "GET / HTTP/1.1\r\na: b\n\r\n"] {
            let refused = end(bytes.as_bytes(), 0);
            assert_eq!(refused, Err(HeadFault::Malformed), "{bytes:?}");
        }
    }

    fn check(fields: &str, expected: Result<Framing, HeadFault>) {
        let head = format!("POST / HTTP/1.1\r\n{fields}\r\n");
        assert_eq!(framing(head.as_bytes()), expected, "{fields:?}");
    }

    #[test]
    fn one_length_or_chunks_or_nothing() {
        check("", Ok(Framing::Length(0)));
        check("Host: a\r\n", Ok(Framing::Length(0)));
        check("content-length: 17 \r\n", Ok(Framing::Length(17)));
        check("Transfer-Encoding:\tChunked\r\n", Ok(Framing::Chunked));
        check("x: Content-Length: 5\r\n", Ok(Framing::Length(0)));
    }

    #[test]
    fn whatever_leaves_a_choice_is_refused() {
        for fields in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Content-Length: 18446744073709551615\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunked;a=b\r\n",
            "Transfer-Encoding : chunked\r\n",
            "Content-Length : 5\r\n",
            " Content-Length: 5\r\n",
            "a: b\r\n Content-Length: 5\r\n",
            "no field\r\n",
            ": nameless\r\n",
            "a: b\rContent-Length: 5\r\n",
            "a: b\0\r\n",
        ] {
            check(fields, Err(HeadFault::Malformed));
        }
    }

    #[test]
    fn so_many_fields_and_no_more() {
        check(&"a: b\r\n".repeat(MAX_FIELDS), Ok(Framing::Length(0)));
        check(&"a: b\r\n".repeat(MAX_FIELDS + 1), Err(HeadFault::TooLarge));
    }
}
