//! Names on the wire: how Rust names become them, and which of them no peer could reach.

/// `get_user` is `getUser`. Underscores in front stay, since they tell that a name is special.
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

/// Handled by a JavaScript peer's proxy itself.
const OF_A_PROXY: [&str; 6] = ["then", "catch", "finally", "dup", "map", "onRpcBroken"];

/// What every JavaScript object inherits. Peers neither send these nor let them through.
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

/// Why a method or property can not have this wire name.
pub(crate) fn member_refused(wire: &str) -> Option<&'static str> {
    if OF_A_PROXY.contains(&wire) {
        return Some("a JavaScript peer handles it on its own promise and never sends it");
    }
    key_refused(wire)
}

/// Why an object or an error that crosses the wire can not have this key.
pub(crate) fn key_refused(wire: &str) -> Option<&'static str> {
    if wire.is_empty() {
        Some("it is empty")
    } else if OF_EVERY_OBJECT.contains(&wire) {
        Some("every JavaScript object inherits it, so peers filter it out")
    } else if wire.eq_ignore_ascii_case("toJSON") {
        Some("JavaScript's `JSON.stringify` would call it, and peers filter `toJSON` out")
    } else {
        None
    }
}

/// Why an error can not have a property of this name.
pub(crate) fn error_property_refused(wire: &str) -> Option<&'static str> {
    match wire {
        "name" | "message" | "stack" => Some("every JavaScript error has its own"),
        _ => key_refused(wire),
    }
}

/// What `#[serde(rename_all = "…")]` makes of the name of a field; `None` for a rule that serde
/// does not have.
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

/// What it makes of the name of a variant.
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
    fn names_no_peer_can_send_are_refused() {
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
