//! Compares the cursor with serde_json, and tests where the two differ.

use super::*;

fn accepts(text: &str) -> bool {
    let mut cursor = Cursor::new(text);
    cursor.skip().is_ok() && cursor.end().is_ok()
}

#[test]
fn accepts_the_same_text_as_serde_json() {
    for text in [
        "1",
        "-0",
        "0.5",
        "1e9",
        "-1.5E-3",
        "01",
        "1.",
        ".5",
        "1e",
        "+1",
        "--1",
        "-",
        "null",
        "nul",
        "true",
        "truefalse",
        "\"a\"",
        "\"\\n\\u00e9\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\u{1}\"",
        "\"",
        "[]",
        "[1]",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[[],{}]",
        "{}",
        "{\"a\":1}",
        "{\"a\":1,}",
        "{\"a\"}",
        "{a:1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":[{\"b\":[]}]}",
        " [ 1 , 2 ] ",
        "[1]]",
        "",
        " ",
        "]",
        "{]",
        "[}",
        "\u{feff}1",
        "[\"\\\"]\"]",
        "[1}",
        "{\"a\":1]",
    ] {
        let expected = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        assert_eq!(accepts(text), expected, "{text:?}");
    }
}

#[test]
fn accepts_javascript_text_that_serde_json_rejects() {
    for text in ["\"\\ud800\"", "1e400", &"[".repeat(10_000).add_close()] {
        assert!(accepts(text), "{text:.40}");
    }
}

trait AddClose {
    fn add_close(self) -> String;
}

impl AddClose for String {
    fn add_close(self) -> String {
        let close = "]".repeat(self.len());
        self + &close
    }
}

#[test]
fn strings_are_unescaped_and_lone_surrogates_replaced() {
    for (text, expected) in [
        ("\"plain\"", "plain"),
        ("\"a\\n\\\"\\u00e9\\ud83d\\udea3\"", "a\n\"\u{e9}\u{1f6a3}"),
        ("\"x\\ud800y\\n\\/\"", "x\u{fffd}y\n/"),
        ("\"\\udc00\\ud83d\\udea3\"", "\u{fffd}\u{1f6a3}"),
    ] {
        assert_eq!(Cursor::new(text).string().as_deref(), Ok(expected));
    }
    assert!(matches!(Cursor::new("\"plain\"").string(), Ok(Cow::Borrowed(_))));
}

#[test]
fn special_bytes_are_found_at_every_position() {
    for len in (0..40).chain(120..140).chain(250..270).chain(4340..4360) {
        for plain in [b'a', b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
            let plain = vec![plain; len];
            assert_eq!(plain_bytes(&plain), None);
            for special in [b'"', b'\\', 0, 1, 0x1f] {
                let mut text = plain.clone();
                text.extend([special, b'!', b'#', b'"', 0x1f, b'a', b'a', b'a', b'a']);
                assert_eq!(plain_bytes(&text), Some(len), "{special} behind {plain:?}");
            }
        }
    }
}

#[test]
fn error_has_the_position_of_the_fault() {
    let mut cursor = Cursor::new("[1, x]");
    assert_eq!(cursor.skip(), Err(TextError { what: "expected a value", at: 4 }));
}

#[test]
fn short_and_long_strings_are_read_alike() {
    for len in 0..20 {
        for special in ["\"", "\\n\"", "\u{1}\"", "\u{e9}\"", ""] {
            for behind in ["", ",1]", "                    "] {
                let text = format!("\"{}{special}{behind}", "x".repeat(len));
                let (mut short, mut long) = (Cursor::new(&text), Cursor::new(&text));
                let raw = long.raw_string().map(|(raw, _)| raw);
                match short.string() {
                    Ok(string) => {
                        assert_eq!(serde_json::from_str::<String>(raw.unwrap_or_default()).ok(), Some(string.into()));
                    }
                    Err(error) => assert_eq!(raw, Err(error)),
                }
                assert_eq!(short.at(), long.at(), "{text:?}");
            }
        }
    }
}
