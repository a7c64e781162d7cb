//! The plain values of `stint.toml`: each is read once into a type that cannot hold anything else.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde_json::{Value, json};
use stint_policy::Seconds;
use toml::de::DeValue;

use super::schema;
use super::secret::{KeyFile, SecretRef};
use super::setting::{Place, Word, Wrong};
use crate::authenticate::address::Network;

/// So many in so long: `10/s`, `200/m`, `1000/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many, at least one.
    pub count: u32,
    /// In which time: a second, a minute or an hour.
    pub per: Seconds,
}

impl Rate {
    /// So many in a second.
    #[must_use]
    pub const fn per_second(count: u32) -> Rate {
        Rate {
            count,
            per: Seconds::new(1),
        }
    }
}

impl Word for Rate {
    const WANTS: &'static str = "a rate such as \"10/s\"";

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[1-9][0-9]*/[smh]$" })
    }

    fn parse(value: &DeValue<'_>, _: &Place<'_>) -> Result<Rate, Wrong> {
        let text = text::<Rate>(value)?;
        let rate = text.split_once('/').and_then(|(count, unit)| {
            let per = Seconds::new(match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                _ => return None,
            });
            Some(Rate {
                count: number(count)?.try_into().ok().filter(|count| *count > 0)?,
                per,
            })
        });
        rate.ok_or_else(|| {
            Wrong::new(
                format!("is not a rate: `{text}`"),
                "a number and /s, /m or /h",
            )
        })
    }

    fn json(&self) -> Value {
        let unit = match self.per.as_u32() {
            1 => "s",
            60 => "m",
            _ => "h",
        };
        json!(format!("{}/{unit}", self.count))
    }
}

/// An amount of bytes: `64MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(u64);

impl Size {
    /// So many MiB.
    #[must_use]
    pub const fn mib(count: u32) -> Size {
        Size((count as u64) << 20)
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl Word for Size {
    const WANTS: &'static str = "an amount of bytes such as \"64MiB\"";

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9]+(KiB|MiB|GiB)$" })
    }

    fn parse(value: &DeValue<'_>, _: &Place<'_>) -> Result<Size, Wrong> {
        let text = text::<Size>(value)?;
        let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
        let size = units.into_iter().find_map(|(unit, shift)| {
            let count: u32 = number(text.strip_suffix(unit)?)?.try_into().ok()?;
            Some(Size(u64::from(count) << shift))
        });
        size.ok_or_else(|| {
            Wrong::new(
                format!("is not an amount of bytes: `{text}`"),
                "a number and KiB, MiB or GiB",
            )
        })
    }

    fn json(&self) -> Value {
        let units = [("GiB", 30), ("MiB", 20)];
        let whole = units
            .into_iter()
            .find(|(_, shift)| self.0 != 0 && self.0.is_multiple_of(1 << shift));
        let (unit, shift) = whole.unwrap_or(("KiB", 10));
        json!(format!("{}{unit}", self.0 >> shift))
    }
}

/// A network: `10.0.0.0/8`, `fd00::/8`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cidr {
    text: String,
    network: Network,
}

impl Cidr {
    /// Whether `address` lies in it.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        self.network.holds(address)
    }

    /// As addresses are judged by it.
    pub(crate) fn network(&self) -> Network {
        self.network
    }
}

impl Word for Cidr {
    const WANTS: &'static str = "a network such as \"10.0.0.0/8\"";

    fn parse(value: &DeValue<'_>, _: &Place<'_>) -> Result<Cidr, Wrong> {
        let text = text::<Cidr>(value)?;
        let wrong = |()| {
            Wrong::new(
                format!("is not a network: `{text}`"),
                "ADDRESS/LENGTH, with no bit set behind its length",
            )
        };
        Ok(Cidr {
            text: text.to_owned(),
            network: text.parse().map_err(wrong)?,
        })
    }

    fn json(&self) -> Value {
        json!(self.text)
    }
}

impl Word for Seconds {
    const WANTS: &'static str = "a duration such as \"10m\"";

    fn schema() -> Value {
        schema::duration()
    }

    fn parse(value: &DeValue<'_>, _: &Place<'_>) -> Result<Seconds, Wrong> {
        let text = text::<Seconds>(value)?;
        let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
        scaled(text, &units)
            .and_then(|seconds| u32::try_from(seconds).ok())
            .map(Seconds::new)
            .ok_or_else(|| {
                Wrong::new(
                    format!("is not a duration: `{text}`"),
                    "a number and s, m, h or d",
                )
            })
    }

    fn json(&self) -> Value {
        match self.as_u32() {
            days if days > 86_400 && days.is_multiple_of(86_400) => {
                json!(format!("{}d", days / 86_400))
            }
            _ => json!(self.to_string()),
        }
    }
}

impl Word for u32 {
    const WANTS: &'static str = "a whole number";

    fn schema() -> Value {
        json!({ "type": "integer" })
    }

    fn parse(value: &DeValue<'_>, _: &Place<'_>) -> Result<u32, Wrong> {
        let digits = value
            .as_integer()
            .ok_or_else(|| Wrong::kind::<u32>(value))?;
        u32::from_str_radix(digits.as_str(), digits.radix())
            .map_err(|_source| Wrong::new(format!("is out of bounds: {digits}"), "0 to 4294967295"))
    }

    fn json(&self) -> Value {
        json!(self)
    }
}

impl Word for String {
    const WANTS: &'static str = "a text";

    fn parse(value: &DeValue<'_>, _: &Place<'_>) -> Result<String, Wrong> {
        text::<String>(value).map(str::to_owned)
    }

    fn json(&self) -> Value {
        json!(self)
    }
}

impl Word for PathBuf {
    const WANTS: &'static str = "a path";

    fn parse(value: &DeValue<'_>, place: &Place<'_>) -> Result<PathBuf, Wrong> {
        match text::<PathBuf>(value)? {
            "" => Err(Wrong::new("is empty", Self::WANTS)),
            path => Ok(place.dir.join(path)),
        }
    }

    fn json(&self) -> Value {
        json!(self.display().to_string())
    }
}

impl Word for SocketAddr {
    const WANTS: &'static str = "an address such as \"127.0.0.1:8640\"";

    fn parse(value: &DeValue<'_>, _: &Place<'_>) -> Result<SocketAddr, Wrong> {
        let text = text::<SocketAddr>(value)?;
        text.parse().map_err(|_source| {
            Wrong::new(
                format!("is not an address: `{text}`"),
                "IP:PORT, an IPv6 address in [brackets]",
            )
        })
    }

    fn json(&self) -> Value {
        json!(self.to_string())
    }
}

impl Word for SecretRef {
    const WANTS: &'static str =
        "a reference: { credential = NAME }, { file = PATH } or { env = NAME }";
    const EMPTY_IS_NONE: bool = false;

    fn schema() -> Value {
        schema::reference(&["credential", "file", "env"])
    }

    fn parse(value: &DeValue<'_>, place: &Place<'_>) -> Result<SecretRef, Wrong> {
        let secret = match reference(value) {
            Some(("credential", name)) if is_file_name(name) => {
                SecretRef::Credential(name.to_owned())
            }
            Some(("file", path)) => SecretRef::File(place.dir.join(path)),
            Some(("env", name)) => SecretRef::Env(name.to_owned()),
            _ if value.is_str() => {
                let label = "anybody who reads this file has it: write { file = PATH }";
                return Err(Wrong::new("is a literal secret", label));
            }
            _ => {
                let label = "{ credential = NAME }, { file = PATH } or { env = NAME }";
                return Err(Wrong::new("is not a reference to a secret", label));
            }
        };
        let refused = |error: super::secret::SecretError| {
            Wrong::new(format!("cannot be used: {error}"), error.advice())
        };
        secret.probe(place.env).map_err(refused)?;
        Ok(secret)
    }

    fn json(&self) -> Value {
        match self {
            SecretRef::Credential(name) => json!({ "credential": name }),
            SecretRef::File(path) => json!({ "file": path.display().to_string() }),
            SecretRef::Env(name) => json!({ "env": name }),
        }
    }

    fn caution(&self) -> Option<&'static str> {
        matches!(self, SecretRef::Env(_)).then_some(
            "comes from the environment, which children and crash reports see: use a credential or a file",
        )
    }
}

impl Word for KeyFile {
    const WANTS: &'static str = "a key: { file = PATH }";
    const EMPTY_IS_NONE: bool = false;

    fn schema() -> Value {
        schema::reference(&["file"])
    }

    fn parse(value: &DeValue<'_>, place: &Place<'_>) -> Result<KeyFile, Wrong> {
        let Some(("file", path)) = reference(value) else {
            return Err(Wrong::new(
                "is not a key",
                "{ file = PATH } is the one kind of this version",
            ));
        };
        let key = KeyFile::new(place.dir.join(path));
        match key.read() {
            Ok(_) => Ok(key),
            Err(error) => Err(Wrong::new(
                format!("cannot be used: {error}"),
                error.advice(),
            )),
        }
    }

    fn json(&self) -> Value {
        json!({ "file": self.path().display().to_string() })
    }
}

pub(super) fn text<'v, T: Word>(value: &'v DeValue<'_>) -> Result<&'v str, Wrong> {
    value.as_str().ok_or_else(|| Wrong::kind::<T>(value))
}

/// A table of one key and a text that is not empty: `{ file = "…" }`.
fn reference<'v>(value: &'v DeValue<'_>) -> Option<(&'v str, &'v str)> {
    let table = value.as_table().filter(|table| table.len() == 1)?;
    let (key, text) = table.iter().next()?;
    let text = text.get_ref().as_str().filter(|text| !text.is_empty())?;
    Some((key.get_ref().as_ref(), text))
}

fn is_file_name(name: &str) -> bool {
    !name.contains('/') && !matches!(name, "." | "..")
}

/// `15` of a unit of 60 is 900: a number without sign or leading zero, and one unit.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at_checked(digits)?;
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    number(count)?.checked_mul(*scale)
}

fn number(digits: &str) -> Option<u64> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let one_spelling = digits == "0" || !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain && one_spelling)
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;

    /// Reads a value as it stands in a file; none if it is refused.
    pub(in crate::config) fn read<T: Word>(text: &str) -> Option<T> {
        let place = Place {
            dir: Path::new("/etc/stint"),
            env: |_| None,
            server_url: "",
            trust_domain: "",
        };
        T::parse(DeValue::parse(text).unwrap().get_ref(), &place).ok()
    }

    /// Reads a value and prints it again; none if it is refused.
    fn again<T: Word>(text: &str) -> Option<String> {
        read::<T>(text).map(|word| word.json().to_string())
    }

    #[test]
    fn durations_and_rates_have_one_spelling() {
        for text in [
            r#""30s""#, r#""10m""#, r#""1h""#, r#""24h""#, r#""30d""#, r#""0s""#,
        ] {
            assert_eq!(again::<Seconds>(text).as_deref(), Some(text));
        }
        for text in [
            r#""10""#,
            r#""10 m""#,
            r#""m""#,
            r#""-1s""#,
            r#""1.5h""#,
            r#""09s""#,
            r#""99999999d""#,
            "10",
        ] {
            assert_eq!(again::<Seconds>(text), None, "{text}");
        }
        for text in [r#""10/s""#, r#""200/m""#, r#""7/h""#] {
            assert_eq!(again::<Rate>(text).as_deref(), Some(text));
        }
        for text in [
            r#""0/s""#,
            r#""10""#,
            r#""10/d""#,
            r#""+1/s""#,
            r#""5000000000/s""#,
        ] {
            assert_eq!(again::<Rate>(text), None, "{text}");
        }
    }

    #[test]
    fn a_reference_to_a_secret_names_one_place() {
        assert!(read::<SecretRef>(r#"{ credential = "stint-keys" }"#).is_some());
        for bad in [
            r#""hunter2""#,
            r#""""#,
            r#"{ credential = "../etc/shadow" }"#,
            r#"{ credential = "a", file = "b" }"#,
            r#"{ literal = "hunter2" }"#,
            r#"{ env = "NOT_SET" }"#,
            "{}",
        ] {
            assert_eq!(read::<Option<SecretRef>>(bad), None, "{bad}");
        }
    }
}
