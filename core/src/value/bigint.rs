//! Integers of any size, like JavaScript's `bigint`.
//!
//! `#[serde(with = "bowline::bigint")]` writes an integer field as a bigint, whatever its value. It
//! supports `i64`, `u64`, `i128`, `u128`, [`BigInt`], and `Option`s of them. When such a field is read, a
//! plain number is accepted too.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, SerializeTupleStruct, Serializer};

use super::{Value, scope, special};

pub use with::{Integer, deserialize, serialize};

/// The maximum number of characters of a [`BigInt`], including the sign. Official peers refuse more.
pub const BIGINT_CHARS_MAX: usize = 16_384;

/// An integer of any size. It can be converted, but has no arithmetic.
///
/// ```
/// # mod bowline { pub mod value { pub use bowline_core::value::BigInt; } }
/// use bowline::value::BigInt;
///
/// let large: BigInt = "123456789012345678901234567890".parse().unwrap();
/// assert_eq!(large.to_string().len(), 30);
/// assert_eq!(BigInt::from(7_u64).as_str(), "7");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BigInt(String);

/// The error of text that is not a [`BigInt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a bigint must be decimal digits with an optional sign, at most 16384 characters")]
pub struct InvalidBigInt;

/// The error of a [`BigInt`] that does not fit into an integer type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bigint does not fit {0}")]
pub struct BigIntOutOfRange(&'static str);

impl BigInt {
    /// Parses decimal digits with an optional sign.
    ///
    /// # Errors
    /// The text is anything else, or has more than [`BIGINT_CHARS_MAX`] characters.
    pub fn parse(text: &str) -> Result<Self, InvalidBigInt> {
        let (sign, digits) = match text.as_bytes().first() {
            Some(b'-') => ("-", &text[1..]),
            Some(b'+') => ("", &text[1..]),
            _ => ("", text),
        };
        let valid = text.len() <= BIGINT_CHARS_MAX && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if !valid {
            return Err(InvalidBigInt);
        }
        Ok(match digits.trim_start_matches('0') {
            "" => Self("0".to_owned()),
            digits => Self([sign, digits].concat()),
        })
    }

    /// Returns the decimal digits, with a leading `-` if the integer is negative.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BigInt {
    type Err = InvalidBigInt;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for BigInt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for BigInt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !scope::is_writing() {
            return serializer.serialize_str(&self.0);
        }
        let mut fields = serializer.serialize_tuple_struct(special::BIGINT, 1)?;
        fields.serialize_field(&self.0)?;
        fields.end()
    }
}

impl<'de> Deserialize<'de> for BigInt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match special::read(deserializer)? {
            Value::BigInt(n) => Ok(n),
            Value::String(text) if special::takes_plain_forms() => Self::parse(&text).map_err(D::Error::custom),
            other => Err(special::unexpected(&other, "a bigint")),
        }
    }
}

mod with {
    use super::{BigInt, Deserialize, Deserializer, Serialize, Serializer, Value, special};
    use serde::de::Error as _;

    /// An integer type that can be written as a bigint. This trait is sealed.
    pub trait Integer: Sized + sealed::Sealed {
        #[doc(hidden)]
        fn write(&self) -> Option<BigInt>;
        #[doc(hidden)]
        fn read(value: Value) -> Result<Self, String>;
    }

    mod sealed {
        pub trait Sealed {}
    }

    /// Writes `value` as a bigint.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: Integer, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        match value.write() {
            Some(n) => n.serialize(serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a bigint, or a number that is an integer.
    ///
    /// # Errors
    /// The value is anything else, or does not fit into `T`.
    pub fn deserialize<'de, T: Integer, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        T::read(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }

    impl sealed::Sealed for BigInt {}

    impl Integer for BigInt {
        fn write(&self) -> Option<BigInt> {
            Some(self.clone())
        }

        fn read(value: Value) -> Result<Self, String> {
            match value {
                Value::BigInt(n) => Ok(n),
                Value::Number(n) if n.fract() == 0.0 && n.abs() <= super::EXACT_MAX => Ok(Self::from(n as i64)),
                Value::String(text) if special::takes_plain_forms() => Self::parse(&text).map_err(|e| e.to_string()),
                other => Err(format!("expected a bigint, found {}", other.kind())),
            }
        }
    }

    impl<T: Integer> sealed::Sealed for Option<T> {}

    impl<T: Integer> Integer for Option<T> {
        fn write(&self) -> Option<BigInt> {
            self.as_ref().and_then(Integer::write)
        }

        fn read(value: Value) -> Result<Self, String> {
            match value {
                Value::Null | Value::Undefined => Ok(None),
                value => T::read(value).map(Some),
            }
        }
    }

    macro_rules! integer {
        ($($int:ty)*) => {$(
            impl sealed::Sealed for $int {}

            impl Integer for $int {
                fn write(&self) -> Option<BigInt> {
                    Some(BigInt::from(*self))
                }

                fn read(value: Value) -> Result<Self, String> {
                    Self::try_from(&<BigInt as Integer>::read(value)?).map_err(|e| e.to_string())
                }
            }
        )*};
    }
    integer!(i64 u64 i128 u128);
}

/// Up to this value, every integer is a double.
pub(super) const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

macro_rules! conversions {
    ($($int:ty)*) => {$(
        impl From<$int> for BigInt {
            fn from(n: $int) -> Self {
                Self(n.to_string())
            }
        }

        impl TryFrom<&BigInt> for $int {
            type Error = BigIntOutOfRange;

            fn try_from(n: &BigInt) -> Result<Self, Self::Error> {
                n.0.parse().map_err(|_| BigIntOutOfRange(stringify!($int)))
            }
        }
    )*};
}
conversions!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_made_canonical() {
        for (text, canonical) in [("0", "0"), ("-0", "0"), ("007", "7"), ("+5", "5"), ("-012", "-12")] {
            assert_eq!(BigInt::parse(text).map(|n| n.0), Ok(canonical.to_owned()));
        }
        for text in ["", "-", "+", " 7", "0x1F", "1n", "1.0", "--1", "\u{0661}"] {
            assert_eq!(BigInt::parse(text), Err(InvalidBigInt), "{text:?}");
        }
    }

    #[test]
    fn length_limit_includes_the_sign() {
        assert!(BigInt::parse(&"9".repeat(BIGINT_CHARS_MAX)).is_ok());
        assert!(BigInt::parse(&"9".repeat(BIGINT_CHARS_MAX + 1)).is_err());
        assert!(BigInt::parse(&format!("-{}", "9".repeat(BIGINT_CHARS_MAX))).is_err());
    }

    #[test]
    fn integers_convert_where_they_fit() {
        let n = BigInt::from(-300);
        assert_eq!(i16::try_from(&n), Ok(-300));
        assert_eq!(u8::try_from(&n), Err(BigIntOutOfRange("u8")));
        assert_eq!(u128::try_from(&BigInt::from(u128::MAX)), Ok(u128::MAX));
    }
}
