//! Names on the wire: how Rust names map to them, and which names are refused.

/// Converts `get_user` to `getUser`. Leading underscores are kept, because they often carry a
/// meaning.
pub(crate) fn camel_case(name: &str) -> String {
    let words = name.trim_start_matches('_');
    let mut wire = name[..name.len() - words.len()].to_owned();
    let mut raise = false;
    for c in words.chars() {
        if c == '_' {
            raise = true;
        } else if raise {
            wire.extend(c.to_uppercase());
            raise = false;
        } else {
            wire.push(c);
        }
    }
    wire
}

/// Names that a JavaScript peer's proxy handles itself.
const OF_A_PROXY: [&str; 6] = ["then", "catch", "finally", "dup", "map", "onRpcBroken"];

/// Members that every JavaScript object inherits. Peers neither send nor accept them.
const OF_EVERY_OBJECT: [&str; 12] = [
    "constructor",
    "__defineGetter__",
    "__defineSetter__",
    "hasOwnProperty",
    "__lookupGetter__",
    "__lookupSetter__",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "toString",
    "valueOf",
    "__proto__",
    "toLocaleString",
];

/// Returns why a method or property cannot have this wire name.
pub(crate) fn member_refused(wire: &str) -> Option<&'static str> {
    if OF_A_PROXY.contains(&wire) {
        return Some("JavaScript clients define it on their promises and never send it");
    }
    key_refused(wire)
}

/// Returns why an object or an error cannot have this key on the wire.
pub(crate) fn key_refused(wire: &str) -> Option<&'static str> {
    if wire.is_empty() {
        Some("it is empty")
    } else if OF_EVERY_OBJECT.contains(&wire) {
        Some("every JavaScript object inherits it, so peers drop it")
    } else if wire.eq_ignore_ascii_case("toJSON") {
        Some("JavaScript's `JSON.stringify` would call it, so peers drop `toJSON`")
    } else {
        None
    }
}

/// Returns why an error cannot have a property with this name.
pub(crate) fn error_property_refused(wire: &str) -> Option<&'static str> {
    match wire {
        "name" | "message" | "stack" => Some("every JavaScript error has one of its own"),
        "code" => Some("it holds the code of the error, which is the name of the variant or of `#[rpc(code = \"…\")]`"),
        _ => key_refused(wire),
    }
}

/// Applies `#[serde(rename_all = "…")]` to the name of a field. Returns `None` for a rule that
/// serde does not have.
pub(crate) fn rename_field(rule: &str, field: &str) -> Option<String> {
    Some(match rule {
        "lowercase" | "snake_case" => field.to_owned(),
        "UPPERCASE" | "SCREAMING_SNAKE_CASE" => field.to_ascii_uppercase(),
        "PascalCase" => pascal_case(field),
        "camelCase" => {
            let pascal = pascal_case(field);
            let mut chars = pascal.chars();
            chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
        }
        "kebab-case" => field.replace('_', "-"),
        "SCREAMING-KEBAB-CASE" => field.to_ascii_uppercase().replace('_', "-"),
        _ => return None,
    })
}

/// Applies `#[serde(rename_all = "…")]` to the name of a variant.
pub(crate) fn rename_variant(rule: &str, variant: &str) -> Option<String> {
    let snake = || {
        let mut out = String::new();
        for (at, c) in variant.char_indices() {
            if at > 0 && c.is_uppercase() {
                out.push('_');
            }
            out.push(c.to_ascii_lowercase());
        }
        out
    };
    Some(match rule {
        "lowercase" => variant.to_ascii_lowercase(),
        "UPPERCASE" => variant.to_ascii_uppercase(),
        "PascalCase" => variant.to_owned(),
        "camelCase" => {
            let mut chars = variant.chars();
            chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
        }
        "snake_case" => snake(),
        "SCREAMING_SNAKE_CASE" => snake().to_ascii_uppercase(),
        "kebab-case" => snake().replace('_', "-"),
        "SCREAMING-KEBAB-CASE" => snake().to_ascii_uppercase().replace('_', "-"),
        _ => return None,
    })
}

fn pascal_case(field: &str) -> String {
    let mut out = String::new();
    for word in field.split('_') {
        let mut chars = word.chars();
        if let Some(first) = chars.next() {
            out.extend(first.to_uppercase());
            out.push_str(chars.as_str());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_names_are_camel_case() {
        for (rust, wire) in [
            ("get_user", "getUser"),
            ("version", "version"),
            ("v2_stats", "v2Stats"),
            ("to_2d", "to2d"),
            ("on_rpc_broken", "onRpcBroken"),
            ("trailing_", "trailing"),
            ("_hidden_thing", "_hiddenThing"),
            ("straße_öffnen", "straßeÖffnen"),
        ] {
            assert_eq!(camel_case(rust), wire);
        }
    }

    #[test]
    fn names_that_peers_cannot_send_are_refused() {
        for name in [
            "then",
            "catch",
            "finally",
            "dup",
            "map",
            "on_rpc_broken",
            "constructor",
            "to_string",
            "value_of",
            "has_own_property",
            "is_prototype_of",
            "to_json",
        ] {
            assert!(member_refused(&camel_case(name)).is_some(), "{name}");
        }
        for sent in ["call", "apply", "bind", "length", "name"] {
            assert_eq!(member_refused(sent), None);
        }
    }

    #[test]
    fn fields_are_renamed_as_serde_does() {
        for (rule, wire) in [
            ("lowercase", "first_name"),
            ("UPPERCASE", "FIRST_NAME"),
            ("PascalCase", "FirstName"),
            ("camelCase", "firstName"),
            ("snake_case", "first_name"),
            ("SCREAMING_SNAKE_CASE", "FIRST_NAME"),
            ("kebab-case", "first-name"),
            ("SCREAMING-KEBAB-CASE", "FIRST-NAME"),
        ] {
            assert_eq!(rename_field(rule, "first_name").as_deref(), Some(wire));
        }
        assert_eq!(rename_field("Title Case", "first_name"), None);
    }

    #[test]
    fn variants_are_renamed_as_serde_does() {
        for (rule, wire) in [
            ("lowercase", "nosuchid"),
            ("UPPERCASE", "NOSUCHID"),
            ("PascalCase", "NoSuchId"),
            ("camelCase", "noSuchId"),
            ("snake_case", "no_such_id"),
            ("SCREAMING_SNAKE_CASE", "NO_SUCH_ID"),
            ("kebab-case", "no-such-id"),
            ("SCREAMING-KEBAB-CASE", "NO-SUCH-ID"),
        ] {
            assert_eq!(rename_variant(rule, "NoSuchId").as_deref(), Some(wire));
        }
    }
}
