//! The words of the repository, and ARCHITECTURE.md's map of its files.

use std::collections::BTreeSet;

use super::{assert_none, files, read};

/// Words that the glossary in ARCHITECTURE.md and the rules in CONTRIBUTING.md replace, in names, comments,
/// messages and documents alike.
const REPLACED: [&str; 17] = [
    "whoever",
    "whomever",
    "nobody",
    "somebody",
    "anybody",
    "had back",
    "made again",
    "goes on with",
    "go on with",
    "owned up",
    "found out",
    "would else",
    "as ever",
    "of ours",
    "of theirs",
    "for ever",
    "can not",
];

/// The list of the words, and a text that a conformance suite compares.
const EXEMPT: [&str; 2] = ["tests/it/tidy/prose.rs", "examples/interop_client/capabilities.rs"];

/// A line as its words, in lower case with a space around each, so that names count as well.
fn words(line: &str) -> String {
    let spaced = line.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' });
    let spaced: String = spaced.collect();
    format!(" {} ", spaced.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
}

#[test]
fn words_that_the_glossary_replaces_do_not_come_back() {
    let mut faults = Vec::new();
    let is_prose = |path: &str| [".rs", ".md", ".lua"].iter().any(|end| path.ends_with(end));
    for file in files().iter().filter(|file| is_prose(&file.path) && !EXEMPT.contains(&&*file.path)) {
        for (number, line) in (1..).zip(file.text.lines()) {
            let line = words(line);
            let found = REPLACED.iter().filter(|word| line.contains(&format!(" {word} ")));
            faults.extend(found.map(|word| format!("{}:{number}: {word}", file.path)));
        }
    }
    assert_none(&faults);
}

/// The folders and modules that the map names: `core/src/peer/` and `stub` are `core/src/peer/stub`.
fn mapped() -> BTreeSet<String> {
    let document = read("ARCHITECTURE.md");
    let map = document.split("\n## ").find(|section| section.starts_with("Map\n")).expect("there is a map");
    let mut folder = "";
    let mut modules = BTreeSet::new();
    for line in map.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            folder = heading.split('`').nth(1).unwrap_or_default();
        } else if let Some(module) = line.strip_prefix("| `").and_then(|row| row.split('`').next()) {
            modules.insert(format!("{folder}{module}"));
        }
    }
    modules
}

#[test]
fn every_source_file_is_on_the_map_of_the_architecture() {
    let is_source = |path: &str| {
        let rest = path.strip_prefix("src/").or_else(|| path.split_once("/src/").map(|(_, rest)| rest));
        let is_member = !["bench/", "fuzz/", "examples/", "tests/"].iter().any(|other| path.starts_with(other));
        let is_code = |rest: &str| rest.ends_with(".ts") || (rest.ends_with(".rs") && !rest.ends_with("tests.rs"));
        is_member && rest.is_some_and(is_code)
    };
    let sources = files().into_iter().map(|file| file.path).filter(|path| is_source(path));
    let modules: BTreeSet<String> = sources.map(|path| path[..path.len() - ".rs".len()].to_owned()).collect();
    let mapped = mapped();
    let missing = modules.difference(&mapped).map(|module| format!("{module} is not on the map"));
    let stale = mapped.difference(&modules).map(|module| format!("{module} is on the map and does not exist"));
    assert_none(&missing.chain(stale).collect::<Vec<_>>());
}
