//! Points in time, like JavaScript's `Date`.
//!
//! `#[serde(with = "bowline::date")]` writes a [`SystemTime`] field as a date. Dates have a precision of
//! milliseconds; anything finer is truncated.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeTupleStruct, Serializer};

use super::{Value, scope, special};

pub use with::{deserialize, serialize};

/// The maximum distance of a date from the epoch, in milliseconds: 100 million days.
const MS_MAX: f64 = 8.64e15;

/// A point in time in whole milliseconds, within 100 million days of the epoch, or invalid.
///
/// ```
/// # mod bowline { pub mod value { pub use bowline_core::value::Date; } }
/// use std::time::{Duration, SystemTime};
///
/// use bowline::value::Date;
///
/// let date = Date::from(SystemTime::UNIX_EPOCH + Duration::from_secs(1));
/// assert_eq!(date.ms(), Some(1_000.0));
/// assert!(SystemTime::try_from(Date::INVALID).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Date(Option<f64>);

/// The error of a [`Date`] that is invalid, or that this platform's clock cannot represent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the date is invalid or out of range")]
pub struct InvalidDate;

impl Date {
    /// The invalid date, which JavaScript has in place of an error.
    pub const INVALID: Self = Self(None);

    /// Creates a date from milliseconds since the epoch. A fraction is truncated. A value out of range
    /// gives [`Date::INVALID`].
    pub fn from_ms(ms: f64) -> Self {
        // The addition turns -0 into 0.
        Self((ms.abs() <= MS_MAX).then(|| ms.trunc() + 0.0))
    }

    /// Returns the milliseconds since the epoch, or `None` if the date is invalid.
    pub fn ms(self) -> Option<f64> {
        self.0
    }

    pub(super) fn from_ms_or_invalid(ms: Option<f64>) -> Self {
        ms.map_or(Self::INVALID, Self::from_ms)
    }
}

impl From<SystemTime> for Date {
    fn from(time: SystemTime) -> Self {
        // A double represents every millisecond in the range exactly.
        Self::from_ms(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_millis() as f64,
            Err(before) => -(before.duration().as_nanos().div_ceil(1_000_000) as f64),
        })
    }
}

impl TryFrom<Date> for SystemTime {
    type Error = InvalidDate;

    fn try_from(date: Date) -> Result<Self, InvalidDate> {
        let ms = date.0.ok_or(InvalidDate)?;
        let distance = Duration::from_millis(ms.abs() as u64);
        let time = if ms < 0.0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
        time.ok_or(InvalidDate)
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !scope::is_writing() {
            return self.0.serialize(serializer);
        }
        let mut fields = serializer.serialize_tuple_struct(special::DATE, 1)?;
        fields.serialize_field(&self.0)?;
        fields.end()
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match special::read(deserializer)? {
            Value::Date(date) => Ok(date),
            Value::Number(ms) if special::takes_plain_forms() => Ok(Self::from_ms(ms)),
            Value::Null if special::takes_plain_forms() => Ok(Self::INVALID),
            other => Err(special::unexpected(&other, "a date")),
        }
    }
}

mod with {
    use super::{Date, Deserialize, Deserializer, Serialize, Serializer, SystemTime};
    use serde::de::Error as _;

    /// Writes `time` as a date.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        Date::from(*time).serialize(serializer)
    }

    /// Reads a date.
    ///
    /// # Errors
    /// The value is not a date, or the date is invalid.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        Date::deserialize(deserializer)?.try_into().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_follow_javascript() {
        assert_eq!(Date::from_ms(1.7).ms(), Some(1.0));
        assert_eq!(Date::from_ms(-1.7).ms(), Some(-1.0));
        assert_eq!(Date::from_ms(8.64e15).ms(), Some(8.64e15));
        assert!(Date::from_ms(-0.0).ms().is_some_and(f64::is_sign_positive));
        for ms in [8.64e15 + 1.0, f64::INFINITY, f64::NAN] {
            assert_eq!(Date::from_ms(ms), Date::INVALID);
        }
    }

    #[test]
    fn system_time_round_trips() {
        for ms in [0, 1, 1_749_342_170_815] {
            for time in [UNIX_EPOCH + Duration::from_millis(ms), UNIX_EPOCH - Duration::from_millis(ms)] {
                assert_eq!(SystemTime::try_from(Date::from(time)), Ok(time));
            }
        }
        assert_eq!(SystemTime::try_from(Date::INVALID), Err(InvalidDate));
    }
}
