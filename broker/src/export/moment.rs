//! Places in the log, by number or by time.

use std::str::FromStr;

use stint_audit::Header;
use stint_policy::Timestamp;
use thiserror::Error;

use crate::issue::Broker;
use crate::ledger::ExportError;

/// A place between entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before this entry.
    Seq(u64),
    /// Before the first entry that is not earlier than this.
    Time(Timestamp),
}

/// A text that is no place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is neither the number of an entry nor a time such as 2026-07-01 or 2026-07-01T08:00:00Z"
)]
pub struct PlaceError(String);

impl FromStr for Place {
    type Err = PlaceError;

    /// A date is its midnight, UTC.
    fn from_str(text: &str) -> Result<Self, PlaceError> {
        if let Ok(seq) = text.parse() {
            return Ok(Self::Seq(seq));
        }
        let midnight = format!("{text}T00:00:00Z");
        let time = Timestamp::parse_rfc3339(text);
        let time = time.or_else(|_date| Timestamp::parse_rfc3339(&midnight));
        time.map(Self::Time)
            .map_err(|_neither| PlaceError(text.to_owned()))
    }
}

impl Broker {
    /// The entry before which the place is. Times never fall along the log, so this is a search by halves.
    pub(crate) async fn seq_of(&self, place: Place) -> Result<u64, ExportError> {
        let time = match place {
            Place::Seq(seq) => return Ok(seq),
            Place::Time(time) => u64::try_from(time.as_millis()).unwrap_or(0),
        };
        let (mut low, mut high) = (self.ledger.floor(), self.ledger.published().size);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.time_of(middle).await? < time {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    async fn time_of(&self, seq: u64) -> Result<u64, ExportError> {
        let damaged = || ExportError::Unknown(format!("entry {seq} cannot be read"));
        let header = self.ledger.headers(seq, seq + 1).await?.pop();
        let header = header.and_then(|bytes| Header::parse(&bytes).ok());
        Ok(header.ok_or_else(damaged)?.ts)
    }
}

#[cfg(test)]
mod tests {
    use stint_policy::Timestamp;

    use super::Place;

    #[test]
    fn reads_numbers_dates_and_times() {
        let at = |text| Place::Time(Timestamp::parse_rfc3339(text).unwrap());
        assert_eq!("17".parse(), Ok(Place::Seq(17)));
        assert_eq!("2026-07-01".parse(), Ok(at("2026-07-01T00:00:00Z")));
        assert_eq!(
            "2026-07-01T08:00:00+02:00".parse(),
            Ok(at("2026-07-01T06:00:00Z"))
        );
        for bad in ["", "-1", "yesterday", "2026-13-01", "2026-07-01 08:00"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}
