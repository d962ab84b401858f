//! URLs that every peer can parse.
//!
//! Parsers agree on all parts of a URL except international host names: which of them are valid depends on
//! the Unicode version of the parser. An official peer ends its session over a URL that its parser
//! rejects. So host names are limited to letters that parsers have agreed on for years, and a URL is
//! always sent in its normal form, which contains nothing that a parser would remove or map.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, SerializeTupleStruct, Serializer};

use super::{Value, scope, special};

/// An absolute URL.
///
/// A host name can contain letters, digits, and marks of the scripts in everyday use, and common emoji.
/// Rarer characters are rejected, because not every peer can parse them.
///
/// ```
/// # mod bowline { pub mod value { pub use bowline_core::value::Url; } }
/// use bowline::value::Url;
///
/// let url = Url::parse("https://example.com/a b").unwrap();
/// assert_eq!(url.as_str(), "https://example.com/a%20b");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url(Box<url::Url>);

/// The error of text that is not an absolute URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an absolute URL")]
pub struct InvalidUrl(#[from] pub(crate) url::ParseError);

impl Url {
    /// Parses and normalizes a URL.
    ///
    /// # Errors
    /// `text` is not an absolute URL, or its host name contains characters that not every peer knows.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let url = Self(Box::new(url::Url::parse(text)?));
        url.check()?;
        Ok(url)
    }

    /// Returns the normalized text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Rejects a URL that was created by other means and that [`parse`](Self::parse) would reject.
    pub(super) fn check(&self) -> Result<(), InvalidUrl> {
        // For other schemes, parsers treat the host as opaque.
        let domain = self.0.domain().filter(|domain| self.0.is_special() && is_encoded(domain));
        match domain {
            Some(domain) if !is_common(&url::quirks::domain_to_unicode(domain)) => {
                Err(InvalidUrl(url::ParseError::IdnaError))
            }
            _ => Ok(()),
        }
    }

    /// Returns `true` if the URL contains a user name or a password.
    pub(super) fn has_credentials(&self) -> bool {
        !self.0.username().is_empty() || self.0.password().is_some()
    }
}

/// Returns `true` if a label is Punycode.
fn is_encoded(domain: &str) -> bool {
    domain.split('.').any(|label| label.starts_with("xn--"))
}

/// Returns `true` if no label stays encoded and all characters are among [`COMMON`].
fn is_common(domain: &str) -> bool {
    let is_common_char = |c: char| {
        let before = COMMON.partition_point(|range| *range.start() <= c);
        c.is_ascii() || before.checked_sub(1).is_some_and(|at| COMMON[at].contains(&c))
    };
    !domain.is_empty() && !is_encoded(domain) && domain.chars().all(is_common_char)
}

/// The characters besides ASCII that a normalized host name can contain.
const COMMON: &[std::ops::RangeInclusive<char>] = &[
    '\u{df}'..='\u{f6}',
    '\u{f8}'..='\u{ff}',
    // Latin, Greek, Cyrillic, Armenian.
    '\u{100}'..='\u{24f}',
    '\u{370}'..='\u{3ff}',
    '\u{400}'..='\u{4bf}',
    '\u{4c1}'..='\u{52f}',
    '\u{561}'..='\u{586}',
    // Hebrew and Arabic.
    '\u{5d0}'..='\u{5ea}',
    '\u{620}'..='\u{64a}',
    '\u{660}'..='\u{669}',
    '\u{671}'..='\u{6d3}',
    '\u{6f0}'..='\u{6fc}',
    // Scripts of India and Sri Lanka.
    '\u{901}'..='\u{963}',
    '\u{966}'..='\u{96f}',
    '\u{981}'..='\u{9fb}',
    '\u{a01}'..='\u{a74}',
    '\u{a81}'..='\u{aef}',
    '\u{b01}'..='\u{b52}',
    '\u{b56}'..='\u{b71}',
    '\u{b82}'..='\u{bef}',
    '\u{c01}'..='\u{c3b}',
    '\u{c3d}'..='\u{c5b}',
    '\u{c5d}'..='\u{c6f}',
    '\u{c82}'..='\u{cdb}',
    '\u{cdd}'..='\u{cef}',
    '\u{d02}'..='\u{d6f}',
    '\u{d82}'..='\u{df3}',
    // Thai, Lao, Tibetan, Burmese, Georgian, Ethiopic, Khmer, Mongolian.
    '\u{e01}'..='\u{e3a}',
    '\u{e40}'..='\u{e4e}',
    '\u{e50}'..='\u{e59}',
    '\u{e81}'..='\u{ecd}',
    '\u{ed0}'..='\u{edd}',
    '\u{f00}'..='\u{f6c}',
    '\u{1000}'..='\u{109d}',
    '\u{10d0}'..='\u{10fa}',
    '\u{1200}'..='\u{135a}',
    '\u{1780}'..='\u{17b3}',
    '\u{17b6}'..='\u{17d3}',
    '\u{17e0}'..='\u{17e9}',
    '\u{1820}'..='\u{1877}',
    // Vietnamese and other Latin letters with marks.
    '\u{1e00}'..='\u{1e9d}',
    '\u{1ea0}'..='\u{1eff}',
    // Symbols, Chinese, Japanese, Korean.
    '\u{2600}'..='\u{27bf}',
    '\u{3005}'..='\u{3007}',
    '\u{3041}'..='\u{3096}',
    '\u{3099}'..='\u{309a}',
    '\u{30a1}'..='\u{30fe}',
    '\u{3105}'..='\u{312d}',
    '\u{3400}'..='\u{4db5}',
    '\u{4e00}'..='\u{9fcc}',
    '\u{ac00}'..='\u{d7a3}',
    // Emoji.
    '\u{1f300}'..='\u{1f64f}',
    '\u{1f680}'..='\u{1f6c5}',
    '\u{20000}'..='\u{2a6d6}',
];

impl FromStr for Url {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<url::Url> for Url {
    /// A URL that [`parse`](Self::parse) would reject can be converted, but not sent.
    fn from(url: url::Url) -> Self {
        Self(Box::new(url))
    }
}

impl From<Url> for url::Url {
    fn from(url: Url) -> Self {
        *url.0
    }
}

impl Serialize for Url {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !scope::is_writing() {
            return serializer.serialize_str(self.as_str());
        }
        self.check().map_err(S::Error::custom)?;
        let mut fields = serializer.serialize_tuple_struct(special::URL, 1)?;
        fields.serialize_field(self.as_str())?;
        fields.end()
    }
}

impl<'de> Deserialize<'de> for Url {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match special::read(deserializer)? {
            Value::Url(url) => Ok(url),
            Value::String(text) if special::takes_plain_forms() => Self::parse(&text).map_err(D::Error::custom),
            other => Err(special::unexpected(&other, "a URL")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_that_parsers_disagree_on_are_rejected() {
        for host in
            ["例え.jp", "axn--b.com", "bücher.de", "пример.рф", "مثال.com", "한국.kr", "😀.ws", "xn--bcher-kva.de"]
        {
            assert!(Url::parse(&format!("https://{host}/")).is_ok(), "{host}");
        }
        // One from a later Unicode version, one unassigned, a Mongolian hyphen, and one that decodes to
        // nothing.
        for host in ["\u{1c8a}.com", "xn--d4f", "\u{1806}", "xn--a"] {
            assert!(Url::parse(&format!("https://{host}/")).is_err(), "{host}");
        }
        // Characters that a parser removes are not in the normal form.
        assert_eq!(Url::parse("https://a\u{3164}b/").map(|url| url.to_string()).as_deref(), Ok("https://ab/"));
        let unchecked = Url::from(url::Url::parse("https://\u{1c8a}.com/").expect("the URL is valid"));
        assert!(crate::value::encode(&unchecked).is_err());
        assert!(Url::parse("foo://\u{1c8a}/").is_ok(), "the host of an unknown scheme is not checked");
    }

    #[test]
    fn ranges_are_sorted() {
        assert!(COMMON.windows(2).all(|pair| pair[0].end() < pair[1].start()));
        assert!(COMMON.iter().all(|range| range.start() <= range.end()));
    }
}
