//! The one spelling of a JSON value: the restricted JCS profile of LEDGER.md §2 (RFC 8785 without floats and
//! null).
//!
//! [`canonical`] writes it; [`lint`] accepts exactly the bytes that [`canonical`] would have written. Nothing
//! here repairs an input: twins of one value are refused, or a signature would cover two readings.

use serde_json::{Map, Number, Value};

/// The largest integer of either sign: 2^53 - 1, the last one that every JSON reader keeps exact.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Longest header, bytes. `tlog-tiles` allows 65,535; ours stay well below.
pub const MAX_HEADER: usize = 4_096;

/// Longest body, bytes.
pub const MAX_BODY: usize = 65_536;

/// Deepest nesting of a body; the outer object is 1.
pub const MAX_DEPTH: usize = 16;

/// Deepest nesting of a header: the object, `what`, `ranges`, one range.
pub const MAX_HEADER_DEPTH: usize = 4;

/// A value that has no canonical spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// `null`; a member without a value is left out.
    #[error("null is not allowed: leave the member out")]
    Null,
    /// A fraction, an exponent, or an integer beyond ±(2^53 - 1).
    #[error("a number is not an integer within ±(2^53 - 1)")]
    Number,
    /// Nested more deeply than allowed.
    #[error("nested more deeply than {0} levels")]
    Depth(usize),
}

/// Bytes that are not the one spelling of a value.
#[derive(Debug, thiserror::Error)]
pub enum LintError {
    /// Longer than allowed; the limit in bytes.
    #[error("longer than {0} bytes")]
    Long(usize),
    /// Not JSON at all.
    #[error("not JSON")]
    Syntax(#[source] serde_json::Error),
    /// JSON, but outside the profile.
    #[error(transparent)]
    Profile(#[from] CanonicalError),
    /// A twin: the same value has other canonical bytes (member order, escapes, duplicates, spaces, -0).
    #[error("not the canonical spelling of its value")]
    Twin,
    /// A header holds a byte that is not printable ASCII, or needs an escape, or a number out of range.
    #[error("a header holds more than printable ASCII and integers from 0 to 2^53 - 1")]
    Header,
}

/// The canonical bytes of `value`, at most [`MAX_DEPTH`] levels deep.
///
/// # Errors
/// When the value has none: `null`, a float, an integer out of range, too deep.
pub fn canonical(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::with_capacity(256);
    write_value(&mut out, value, MAX_DEPTH, MAX_DEPTH)?;
    Ok(out)
}

/// Appends the canonical bytes of an object to `out`; `depth` is what is left of [`MAX_DEPTH`], this object
/// included.
pub(crate) fn write_object(
    out: &mut Vec<u8>,
    members: &Map<String, Value>,
    depth: usize,
) -> Result<(), CanonicalError> {
    write_members(out, members, depth, MAX_DEPTH)
}

/// Parses `bytes` strictly: at most `max` long and `depth` deep, and byte for byte what [`canonical`] writes.
///
/// # Errors
/// Which rule the bytes break.
pub fn lint(bytes: &[u8], max: usize, depth: usize) -> Result<Value, LintError> {
    if bytes.len() > max {
        return Err(LintError::Long(max));
    }
    let value = serde_json::from_slice(bytes).map_err(LintError::Syntax)?;
    let mut again = Vec::with_capacity(bytes.len());
    write_value(&mut again, &value, depth, depth)?;
    if again == bytes {
        Ok(value)
    } else {
        Err(LintError::Twin)
    }
}

/// Lints a header: [`lint`] within the header's limits, and [`plain`].
///
/// # Errors
/// Which rule the bytes break.
pub fn lint_header(bytes: &[u8]) -> Result<Value, LintError> {
    plain(bytes)?;
    lint(bytes, MAX_HEADER, MAX_HEADER_DEPTH)
}

/// Checks what sets headers apart, on bytes that are JSON: strings are printable ASCII that needs no escape,
/// numbers are integers from 0 to 2^53 - 1, and the whole is at most [`MAX_HEADER`] long.
///
/// # Errors
/// [`LintError::Long`] or [`LintError::Header`].
pub(crate) fn plain(bytes: &[u8]) -> Result<(), LintError> {
    if bytes.len() > MAX_HEADER {
        return Err(LintError::Long(MAX_HEADER));
    }
    let mut quoted = false;
    let mut number = 0_u64;
    for &byte in bytes {
        match byte {
            b'\\' => return Err(LintError::Header),
            b'"' => quoted = !quoted,
            0x20..=0x7e if quoted => {}
            b'0'..=b'9' => {
                number = number * 10 + u64::from(byte - b'0');
                if number > MAX_INTEGER {
                    return Err(LintError::Header);
                }
                continue;
            }
            b'-' | b'+' | b'.' => return Err(LintError::Header),
            0x21..=0x7e => {}
            _ => return Err(LintError::Header),
        }
        number = 0;
    }
    Ok(())
}

fn write_value(
    out: &mut Vec<u8>,
    value: &Value,
    left: usize,
    depth: usize,
) -> Result<(), CanonicalError> {
    match value {
        Value::Null => return Err(CanonicalError::Null),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(out, number)?,
        Value::String(text) => write_string(out, text),
        Value::Array(items) => write_items(out, items, left, depth)?,
        Value::Object(members) => write_members(out, members, left, depth)?,
    }
    Ok(())
}

fn write_items(
    out: &mut Vec<u8>,
    items: &[Value],
    left: usize,
    depth: usize,
) -> Result<(), CanonicalError> {
    let left = left.checked_sub(1).ok_or(CanonicalError::Depth(depth))?;
    out.push(b'[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_value(out, item, left, depth)?;
    }
    out.push(b']');
    Ok(())
}

/// Members go out by UTF-16 code units (RFC 8785 §3.2.3). A map that is in that order already, as ours are, is
/// not copied.
fn write_members(
    out: &mut Vec<u8>,
    members: &Map<String, Value>,
    left: usize,
    depth: usize,
) -> Result<(), CanonicalError> {
    let left = left.checked_sub(1).ok_or(CanonicalError::Depth(depth))?;
    out.push(b'{');
    if members.keys().is_sorted_by(|a, b| utf16(a).lt(utf16(b))) {
        write_pairs(out, members.iter(), left, depth)?;
    } else {
        let mut sorted: Vec<_> = members.iter().collect();
        sorted.sort_unstable_by(|(a, _), (b, _)| utf16(a).cmp(utf16(b)));
        write_pairs(out, sorted.into_iter(), left, depth)?;
    }
    out.push(b'}');
    Ok(())
}

fn write_pairs<'a>(
    out: &mut Vec<u8>,
    pairs: impl Iterator<Item = (&'a String, &'a Value)>,
    left: usize,
    depth: usize,
) -> Result<(), CanonicalError> {
    for (i, (name, value)) in pairs.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_string(out, name);
        out.push(b':');
        write_value(out, value, left, depth)?;
    }
    Ok(())
}

fn utf16(text: &str) -> impl Iterator<Item = u16> {
    text.encode_utf16()
}

fn write_number(out: &mut Vec<u8>, number: &Number) -> Result<(), CanonicalError> {
    let value = number.as_i64().ok_or(CanonicalError::Number)?;
    if value.unsigned_abs() > MAX_INTEGER {
        return Err(CanonicalError::Number);
    }
    out.extend_from_slice(value.to_string().as_bytes());
    Ok(())
}

/// RFC 8785 §3.2.2.2: the two-character escapes where they exist, `\u00xx` for other controls, else verbatim.
fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest
        .iter()
        .position(|&b| b < 0x20 || b == b'"' || b == b'\\')
    {
        let (clean, tail) = rest.split_at(at);
        out.extend_from_slice(clean);
        let Some((&byte, tail)) = tail.split_first() else {
            break;
        };
        write_escape(out, byte);
        rest = tail;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn write_escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        b'"' | b'\\' => byte,
        control => {
            out.extend_from_slice(format!("\\u{control:04x}").as_bytes());
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests;
