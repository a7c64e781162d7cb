//! Standard base64 with padding, as C2SP texts have it (LEDGER.md §2), in its one spelling.

use data_encoding::BASE64;

/// The bytes of `text`; `None` if it is not what [`BASE64`] writes of them. Its own reader also takes padded texts one
/// behind the other (`Zg==Zg==`), and a second spelling of a signature or a root is one too many.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let bytes = BASE64.decode(text.as_bytes()).ok()?;
    (BASE64.encode(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn has_one_spelling() {
        assert_eq!(decode("Zg=="), Some(b"f".to_vec()));
        assert_eq!(decode(""), Some(vec![]));
        for other in [
            "Zg", "Zg=", "Zh==", "Zg==\n", "Zg==Zg==", "Zm8=Zm9v", "Z-==",
        ] {
            assert_eq!(decode(other), None, "{other}");
        }
    }
}
