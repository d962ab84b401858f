//! Examples in the documentation of what applications construct and configure.

use std::collections::BTreeSet;

use super::{File, assert_none, files};

/// Public items without an example of their own: what applications only receive, read, or match on, and traits
/// that generated code implements. The page of their module shows most of them in use. The list may shrink.
const WITHOUT: &[&str] = &[
    "Arg",
    "Body",
    "BoxError",
    "CallId",
    "CloseCause",
    "ClosedBy",
    "CodecError",
    "ConnectError",
    "DecodeError",
    "DrainReport",
    "DynTarget",
    "Elements",
    "EncodeError",
    "ErrorCase",
    "ErrorDescription",
    "Features",
    "FromPromise",
    "Interface",
    "IntoArg",
    "IntoStep",
    "KeepError",
    "KeyError",
    "Lifetime",
    "LinkEvent",
    "LinkEvents",
    "LinkStats",
    "Mapped",
    "Member",
    "MemberKind",
    "Never",
    "NotDurable",
    "Object",
    "ObjectEntry",
    "ObjectKind",
    "ObjectStatus",
    "OnReplay",
    "Path",
    "Payload",
    "PeerAddress",
    "Pipeline",
    "Reauth",
    "Receiving",
    "Recipe",
    "Reference",
    "Repeat",
    "RpcError",
    "Sending",
    "ServerError",
    "ServerInfo",
    "SessionError",
    "SessionStats",
    "SharedLimits",
    "Step",
    "StoredRecipe",
    "StoredVars",
    "SturdyError",
    "Transport",
    "TransportEnd",
    "TransportKind",
    "TrustLevel",
    "TypeScript",
    "VarError",
    "call_id",
    "encode",
    "from_value",
    "link",
    "to_value",
];

/// The names that the modules of the package `bowline` export.
fn exported(files: &[File]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in files.iter().filter(|file| file.path.starts_with("src/")) {
        let code: String = file.text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for list in code.split("pub use ").skip(1).filter_map(|rest| rest.split(';').next()) {
            let words = list.split(|c: char| !c.is_alphanumeric() && c != '_');
            names.extend(words.filter(|word| !word.is_empty()).map(str::to_owned));
        }
    }
    names
}

/// The name that a line at the left margin defines.
fn defined(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub ")?;
    let rest = rest.strip_prefix("async ").unwrap_or(rest);
    let (keyword, rest) = rest.split_once(' ')?;
    let is_item = ["struct", "enum", "trait", "type", "fn"].contains(&keyword);
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().filter(|_| is_item)
}

#[test]
fn exported_items_have_an_example() {
    let files = files();
    let exported = exported(&files);
    let of_libraries = ["core/src/", "client/src/", "server/src/", "transport/src/"];
    let mut without = BTreeSet::new();
    for file in files.iter().filter(|file| of_libraries.iter().any(|folder| file.path.starts_with(folder))) {
        let mut has_example = false;
        for line in file.text.lines() {
            has_example |= line.starts_with("/// ```");
            if let Some(name) = defined(line).filter(|name| exported.contains(*name))
                && !has_example
            {
                without.insert(name.to_owned());
            }
            // Documentation and attributes belong to the item below them.
            let belongs = ["///", "#[", " ", ")]"].iter().any(|start| line.starts_with(start));
            has_example &= belongs;
        }
    }
    let listed: BTreeSet<String> = WITHOUT.iter().map(|&name| name.to_owned()).collect();
    let missing = without.difference(&listed).map(|name| format!("`{name}` has no example"));
    let stale = listed.difference(&without).map(|name| format!("`{name}` has an example; remove it from the list"));
    assert_none(&missing.chain(stale).collect::<Vec<_>>());
}
