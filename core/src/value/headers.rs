//! HTTP headers as they cross the wire: lower-case, sorted, and with repeated headers joined.

use std::{iter, slice};

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, SerializeTupleStruct, Serializer};

use super::{Value, scope, special};

/// HTTP headers. As in JavaScript's `Headers`, names are lower-case and sorted, and repeated headers are
/// joined with `, `, except `set-cookie`.
///
/// ```
/// # mod bowline { pub mod value { pub use bowline_core::value::Headers; } }
/// use bowline::value::Headers;
///
/// let mut headers = Headers::new();
/// headers.append("Accept", "text/html").unwrap();
/// assert_eq!(headers.value("accept"), Some("text/html"));
/// for (name, value) in &headers {
///     println!("{name}: {value}");
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Headers(Vec<(String, String)>);

/// The error of a header that HTTP does not allow. An official peer would end the session over it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeader {
    /// The name is not a token.
    #[error("the header name {0:?} is not a token")]
    Name(Box<str>),
    /// The value contains a line break, a NUL, or a character beyond U+00FF.
    #[error("the value of header {0:?} contains a character that is not allowed")]
    Value(Box<str>),
}

impl Headers {
    /// Creates an empty set of headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a header. If there is one of the same name, the values are joined.
    ///
    /// # Errors
    /// HTTP does not allow the name or the value.
    pub fn append(&mut self, name: &str, value: &str) -> Result<(), InvalidHeader> {
        let (name, value) = checked(name, value)?;
        let end = self.0.partition_point(|(n, _)| *n <= name);
        match self.0[..end].last_mut() {
            Some((last, joined)) if *last == name && name != "set-cookie" => {
                join(joined, &value);
            }
            _ => self.0.insert(end, (name, value)),
        }
        Ok(())
    }

    /// Returns the value of a header; the name is case-insensitive. For `set-cookie`, returns the first.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Returns the names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// Returns `true` if there are no headers.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Appends a repeated header. Trailing spaces are removed, because they would not survive the wire.
fn join(joined: &mut String, value: &str) {
    joined.push_str(if value.is_empty() { "," } else { ", " });
    joined.push_str(value);
}

fn checked(name: &str, value: &str) -> Result<(String, String), InvalidHeader> {
    check(name, value)?;
    Ok((name.to_ascii_lowercase(), value.trim_matches(AROUND).to_owned()))
}

/// The white space around a value, which is not part of it.
const AROUND: [char; 4] = [' ', '\t', '\r', '\n'];

/// Rejects names and values that HTTP does not allow.
pub(crate) fn check(name: &str, value: &str) -> Result<(), InvalidHeader> {
    if !is_token(name) {
        return Err(InvalidHeader::Name(name.into()));
    }
    if value.trim_matches(AROUND).contains(|c| matches!(c, '\0' | '\r' | '\n' | '\u{100}'..)) {
        return Err(InvalidHeader::Value(name.into()));
    }
    Ok(())
}

/// Returns `true` for a token of HTTP: the form of header names and methods.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

impl<'a> IntoIterator for &'a Headers {
    type Item = (&'a str, &'a str);
    type IntoIter = iter::Map<slice::Iter<'a, (String, String)>, fn(&'a (String, String)) -> Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl TryFrom<Vec<(String, String)>> for Headers {
    type Error = InvalidHeader;

    /// Sorts once, so that many headers from a peer are not quadratic.
    fn try_from(pairs: Vec<(String, String)>) -> Result<Self, InvalidHeader> {
        let mut pairs = pairs.iter().map(|(name, value)| checked(name, value)).collect::<Result<Vec<_>, _>>()?;
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs.dedup_by(|next, kept| {
            let joins = next.0 == kept.0 && kept.0 != "set-cookie";
            if joins {
                join(&mut kept.1, &next.1);
            }
            joins
        });
        Ok(Self(pairs))
    }
}

/// Headers as a list of pairs, the form in `init` members.
pub(super) struct Pairs<'a>(pub(super) &'a Headers);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.0.serialize(serializer)
    }
}

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !scope::is_writing() {
            return self.0.serialize(serializer);
        }
        let mut fields = serializer.serialize_tuple_struct(special::HEADERS, 1)?;
        fields.serialize_field(&self.0)?;
        fields.end()
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match special::read(deserializer)? {
            Value::Headers(headers) => Ok(headers),
            Value::Array(pairs) if special::takes_plain_forms() => from_plain(pairs).map_err(D::Error::custom),
            other => Err(special::unexpected(&other, "headers")),
        }
    }
}

/// Reads headers from an array of string pairs.
pub(super) fn from_plain(pairs: Vec<Value>) -> Result<Headers, String> {
    let pairs = pairs
        .into_iter()
        .map(|pair| match pair {
            Value::Array(pair) => match <[Value; 2]>::try_from(pair) {
                Ok([Value::String(name), Value::String(value)]) => Ok((name, value)),
                _ => Err("headers must be pairs of strings".to_owned()),
            },
            other => Err(format!("expected a header, found {}", other.kind())),
        })
        .collect::<Result<Vec<_>, _>>()?;
    Headers::try_from(pairs).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_normalized_like_javascript() {
        let pairs = [("B", "2"), ("Set-Cookie", "x"), ("a", " 1\t"), ("b", "3"), ("set-cookie", "y")];
        let expected = [("a", "1"), ("b", "2, 3"), ("set-cookie", "x"), ("set-cookie", "y")];
        let mut appended = Headers::new();
        for (name, value) in pairs {
            appended.append(name, value).expect("the header is valid");
        }
        assert_eq!(appended.iter().collect::<Vec<_>>(), expected);
        let pairs = pairs.map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(Headers::try_from(pairs.to_vec()), Ok(appended));
    }

    #[test]
    fn invalid_names_and_values_are_rejected() {
        let mut headers = Headers::new();
        for (name, value) in [("", "x"), ("a b", "x"), ("\u{e9}", "x")] {
            assert_eq!(headers.append(name, value), Err(InvalidHeader::Name(name.into())));
        }
        for value in ["a\nb", "\0", "\u{20ac}"] {
            assert_eq!(headers.append("a", value), Err(InvalidHeader::Value("a".into())));
        }
        assert!(headers.append("a", "\u{e9}").is_ok());
    }
}
