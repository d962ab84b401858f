//! Rules that no compiler checks: imports between modules, manifests, file headers, and that documents match
//! the code. The rules are in ARCHITECTURE.md and CONTRIBUTING.md; a failure names file and line.
//!
//! Files in tests/ui are exempt from most rules, because they are test input.

mod examples; // examples in the documentation of public items
mod folders; // imports between the folders of a module
mod prose; // words, and the map of the files

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of core, in order of dependency: module, what it may name of core, and of other packages.
const IMPORTS: &[(&str, &[&str], &[&str])] = &[
    ("id", &[], &["serde"]),
    ("time", &[], &[]),
    ("limits", &[], &[]),
    ("setters", &[], &[]),
    ("error", &[], &["serde"]),
    (
        "value",
        &[],
        &[
            "base64",
            "base64_simd",
            "compact_str",
            "http",
            "itoa",
            "memchr",
            "ryu_js",
            "serde",
            "serde_json",
            "thiserror",
            "url",
        ],
    ),
    (
        "wire",
        &["id", "limits", "value", "session::Path", "session::Step"],
        &["base64_simd", "itoa", "serde_json", "thiserror", "url"],
    ),
    ("session", &["id", "limits", "error", "value", "wire"], &["serde", "smallvec"]),
    ("link", &["id", "time", "limits", "error"], &["serde", "serde_json", "subtle", "zeroize"]),
    (
        "resume",
        &["time", "error", "link::Secret"],
        &["base64", "chacha20poly1305", "getrandom", "hmac", "serde", "serde_json", "sha2", "thiserror", "zeroize"],
    ),
    ("endpoint", &["id", "time", "limits", "error", "session", "link"], &["serde", "serde_json"]),
    (
        "peer",
        &["id", "time", "limits", "error", "value", "wire", "session", "link", "endpoint"],
        &["async_trait", "futures_core", "futures_sink", "memchr", "serde", "serde_json", "tokio::sync", "tracing"],
    ),
    ("typescript", &["value", "peer"], &[]),
    ("generated", &["value", "peer", "typescript"], &["serde"]),
];

/// The file of `peer` that may name all of Tokio.
const RUNTIME: &str = "core/src/peer/runtime.rs";

/// The maximum number of lines of a source file.
const LINES_MAX: usize = 500;

/// Packages that only the libraries of the listed members may depend on.
const CONFINED: &[(&str, &[&str])] = &[
    ("bowline-client", &[]),
    ("bowline-server", &[]),
    ("bowline-transport", &["server", "client"]),
    ("dashmap", &["server"]),
    ("hyper", &["server", "client"]),
    ("proxy-header", &["server"]),
    ("rand", &["server", "client"]),
    ("redis", &["server"]),
    ("rusqlite", &["server"]),
    ("tokio-tungstenite", &["server", "client", "transport"]),
];

/// A text file of the repository.
struct File {
    /// The path from the root, separated by `/`.
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Returns the lines that are not comments, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = (1..).zip(self.text.lines());
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns every text file except those that tools write.
fn files() -> Vec<File> {
    const SKIPPED: [&str; 6] = ["target", "node_modules", ".git", "Cargo.lock", "package-lock.json", "corpus"];
    let mut files = Vec::new();
    let mut open: Vec<PathBuf> = vec![root().to_owned()];
    while let Some(path) = open.pop() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path != root() && SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("the directory is readable");
            open.extend(entries.map(|entry| entry.expect("the entry is readable").path()));
        } else if let Ok(text) = fs::read_to_string(&path) {
            let path =
                path.strip_prefix(root()).expect("the path is below the root").to_string_lossy().replace('\\', "/");
            files.push(File { path, text });
        }
    }
    assert!(files.len() > 100, "too few files: the repository was not found");
    files
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[track_caller]
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// Returns the members of the workspace without the root package.
fn members() -> Vec<String> {
    let manifest = read("Cargo.toml");
    let list = manifest
        .split("members = [")
        .nth(1)
        .and_then(|rest| rest.split(']').next())
        .expect("Cargo.toml lists the members");
    list.split(',').map(|name| name.trim().trim_matches('"').to_owned()).filter(|name| !name.is_empty()).collect()
}

/// Returns the packages under a heading of a manifest.
fn dependencies(manifest: &str, heading: &str) -> BTreeSet<String> {
    let section = manifest.split(&format!("[{heading}]\n")).nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    lines
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['=', '.', ' ']).next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Returns the paths at the beginning of `text`, with `{a, b::c}` expanded.
fn paths(text: &str) -> Vec<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if let Some(list) = rest.strip_prefix('{').filter(|_| name.is_empty()) {
        let mut depth = 0;
        let close = list.find(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth < 0
        });
        return list[..close.unwrap_or(list.len())].split(',').flat_map(|item| paths(item.trim())).collect();
    }
    match rest.strip_prefix("::") {
        Some(rest) => paths(rest).into_iter().map(|path| format!("{name}::{path}")).collect(),
        None => vec![name.to_owned()],
    }
}

/// Returns `true` if one of `allowed` is `path` or a prefix of it.
fn is_allowed(path: &str, allowed: &[&str]) -> bool {
    allowed.iter().any(|prefix| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")))
}

/// Returns what follows each occurrence of `word` in `line` that is not the end of another word or a later
/// segment of a path.
fn starts<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(word).filter_map(move |(at, _)| {
        let before = line[..at].chars().next_back();
        let apart = before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '_' | ':' | '$' | '-'));
        apart.then(|| &line[at + word.len()..])
    })
}

#[test]
fn modules_of_core_import_only_lower_modules() {
    let outside: Vec<String> = dependencies(&read("core/Cargo.toml"), "dependencies").into_iter().collect();
    let mut faults = Vec::new();
    for file in files().iter().filter(|file| file.path.starts_with("core/src/") && file.path != "core/src/lib.rs") {
        let module = file.path["core/src/".len()..].split(['/', '.']).next().unwrap_or_default();
        let Some((_, ours, theirs)) = IMPORTS.iter().find(|(name, ..)| *name == module) else {
            faults.push(format!("{}: `{module}` is not in the table", file.path));
            continue;
        };
        for (number, line) in file.code() {
            let mut fault = |path: &str| faults.push(format!("{}:{number}: {module} names {path}", file.path));
            for path in starts(line, "crate::").flat_map(paths) {
                if !is_allowed(&path, ours) && !is_allowed(&path, &[module]) {
                    fault(&format!("crate::{path}"));
                }
            }
            for name in outside.iter().map(|name| name.replace('-', "_")) {
                for rest in starts(line, &format!("{name}::")) {
                    let all_paths = paths(rest).into_iter().map(|path| format!("{name}::{path}"));
                    let all_of_tokio = name == "tokio" && file.path == RUNTIME;
                    all_paths.filter(|path| !is_allowed(path, theirs) && !all_of_tokio).for_each(|path| fault(&path));
                }
            }
            if line.contains("super::super") {
                fault("super::super");
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn import_table_matches_the_architecture() {
    let document = read("ARCHITECTURE.md");
    let list = |names: &[&str]| match names {
        [] => "–".to_owned(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    };
    let rows =
        IMPORTS.iter().map(|(module, ours, theirs)| format!("| `{module}` | {} | {} |", list(ours), list(theirs)));
    let missing: Vec<_> = rows.filter(|row| !document.contains(row.as_str())).collect();
    assert_none(&missing);
}

#[test]
fn manifests_confine_packages() {
    let mut faults = Vec::new();
    for member in members() {
        let manifest = read(&format!("{member}/Cargo.toml"));
        if !manifest.contains("[lints]\nworkspace = true") {
            faults.push(format!("{member}/Cargo.toml does not inherit the lints"));
        }
        if !manifest.contains("rust-version.workspace = true") {
            faults.push(format!("{member}/Cargo.toml states a rust-version of its own"));
        }
        let has = dependencies(&manifest, "dependencies");
        for (package, homes) in CONFINED {
            if has.contains(*package) && !homes.contains(&member.as_str()) {
                faults.push(format!("{member} has {package}"));
            }
        }
        if member == "macros" && has.iter().any(|package| package.starts_with("bowline")) {
            faults.push("macros depends on a package of the workspace".to_owned());
        }
    }
    assert_none(&faults);
}

/// Test targets are listed in Cargo.toml, so a folder that is not listed is never run.
#[test]
fn every_test_folder_is_run() {
    let manifest = read("Cargo.toml");
    let folders = fs::read_dir(root().join("tests")).expect("tests/ is readable");
    let missing: Vec<_> = folders
        .map(|entry| entry.expect("the entry is readable").path())
        .filter(|path| path.join("main.rs").exists())
        .map(|path| {
            path.join("main.rs").strip_prefix(root()).expect("the path is below the root").display().to_string()
        })
        .filter(|path| !manifest.contains(&format!("path = \"{path}\"")))
        .collect();
    assert_none(&missing);
}

#[test]
fn every_member_has_a_clippy_toml() {
    let missing: Vec<_> = members()
        .into_iter()
        .filter(|member| fs::read_to_string(root().join(member).join("clippy.toml")).is_err())
        .map(|member| format!("{member} has no clippy.toml"))
        .collect();
    assert_none(&missing);
}

#[test]
fn files_have_a_header_and_a_maximum_length() {
    let mut faults = Vec::new();
    for file in files().iter().filter(|file| file.is_rust() && !file.path.starts_with("tests/ui/")) {
        if !file.text.starts_with("//! ") {
            faults.push(format!("{}: the first line is not a `//!` header", file.path));
        }
        let lines = file.text.lines().count();
        if lines > LINES_MAX && file.path.contains("src/") {
            faults.push(format!("{}: {lines} lines", file.path));
        }
    }
    assert_none(&faults);
}

#[test]
fn no_unfinished_code() {
    const WORDS: [&str; 7] = [
        concat!("to", "do!"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("unimpl", "emented!"),
        concat!("for ", "now"),
        concat!("#[ig", "nore"),
    ];
    let mut faults = Vec::new();
    for file in files() {
        for (number, line) in (1..).zip(file.text.lines()) {
            let words = WORDS.iter().filter(|word| starts(line, word).next().is_some());
            faults.extend(words.map(|word| format!("{}:{number}: {word}", file.path)));
        }
    }
    assert_none(&faults);
}

#[test]
fn allowed_lints_have_a_reason() {
    let mut faults = Vec::new();
    for file in files().iter().filter(|file| file.is_rust() && !file.path.starts_with("tests/ui/")) {
        for lint in ["[allow(", "[expect("] {
            for (at, _) in file.text.match_indices(lint).filter(|(at, _)| file.text[..*at].ends_with(['#', '!'])) {
                let attribute = file.text[at..].split(")]").next().unwrap_or_default();
                if !attribute.contains("reason = ") {
                    let number = file.text[..at].lines().count();
                    faults.push(format!("{}:{number}: no reason", file.path));
                }
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn no_machine_paths_or_registries() {
    const DIRECTORIES: [&str; 3] = [concat!("/wo", "rk"), concat!("/ro", "ot"), concat!("/t", "mp")];
    const HOSTS: [&str; 3] = [concat!("crates", ".io"), concat!("npm", "js.org"), concat!("npm", "js.com")];
    let mut faults = Vec::new();
    for file in files() {
        for (number, line) in (1..).zip(file.text.lines()) {
            let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-'));
            let directories = DIRECTORIES.iter().filter(|path| starts(line, path).any(ends));
            let hosts = HOSTS.iter().filter(|host| line.contains(**host));
            faults.extend(directories.chain(hosts).map(|what| format!("{}:{number}: {what}", file.path)));
        }
    }
    assert_none(&faults);
}

#[test]
fn commands_and_links_in_documents_are_valid() {
    let mut faults = Vec::new();
    for file in files().iter().filter(|file| file.path.ends_with(".md")) {
        let folder = Path::new(&file.path).parent().expect("a file has a parent folder");
        let links = file.text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for link in links.filter(|link| !link.is_empty() && !link.contains("://")) {
            if !root().join(folder).join(link).exists() {
                faults.push(format!("{}: the link {link} leads nowhere", file.path));
            }
        }
        for command in file.text.split(['`', '\n']).map(str::trim) {
            let example = command.strip_prefix("cargo run --example ").and_then(|rest| rest.split(' ').next());
            let exists = |path: String| root().join(path).is_file();
            if example.is_some_and(|name| {
                !exists(format!("examples/{name}.rs")) && !exists(format!("examples/{name}/main.rs"))
            }) {
                faults.push(format!("{}: `{command}` runs nothing", file.path));
            }
            let script = command.split(' ').find(|word| word.starts_with("./") || *word == ".ci/run");
            if script.is_some_and(|script| !root().join(script).exists()) {
                faults.push(format!("{}: `{command}` runs nothing", file.path));
            }
        }
    }
    assert_none(&faults);
}

/// Returns each field of a struct of limits with the default that its documentation states.
fn documented_limits(source: &str) -> Vec<(String, String)> {
    let mut limits = Vec::new();
    let mut words = String::new();
    for line in read(source).lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("///") {
            words.push_str(comment);
        } else {
            if let Some(field) = line.strip_prefix("pub ").and_then(|field| field.split(": ").next())
                && let Some((_, default)) = words.split_once("Default ")
            {
                let end = [". ", "; ", ", ", ": "].iter().filter_map(|end| default.find(end)).min();
                limits
                    .push((field.to_owned(), default[..end.unwrap_or(default.len())].trim_end_matches('.').to_owned()));
            }
            words.clear();
        }
    }
    limits
}

/// Returns the public fields of a public struct.
fn public_fields(source: &str, name: &str) -> Vec<String> {
    let source = read(source);
    let (_, body) = source.split_once(&format!("pub struct {name} {{")).expect("the file contains the struct");
    let (body, _) = body.split_once("\n}").expect("the struct is closed");
    let fields = body.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(": "));
    fields.map(|(field, _)| field.to_owned()).collect()
}

#[test]
fn every_limit_is_documented_with_its_default() {
    let document = read("docs/wire.md");
    let limits =
        documented_limits("core/src/limits.rs").into_iter().chain(documented_limits("server/src/http_limits.rs"));
    let rows = limits.map(|(name, default)| (format!("| `{name}` |"), default));
    let missing: Vec<_> = rows
        .filter(|(row, default)| {
            !document.lines().any(|line| line.starts_with(row) && line.contains(&format!("| {default} |")))
        })
        .map(|(row, default)| format!("docs/wire.md lacks {row} … | {default} |"))
        .collect();
    assert_none(&missing);
}

#[test]
fn every_limit_has_a_test_that_exceeds_it() {
    let document = read("docs/wire.md");
    let tests: String = files().iter().filter(|file| file.is_rust()).map(|file| file.text.as_str()).collect();
    let limits = [
        ("core/src/limits.rs", "Limits"),
        ("server/src/http_limits.rs", "HttpLimits"),
        ("core/src/link/mod.rs", "LinkRules"),
    ];
    let fields = limits.into_iter().flat_map(|(source, name)| public_fields(source, name));
    let faults: Vec<_> = fields
        .filter_map(|field| {
            let row = format!("| `{field}` |");
            let Some(line) = document.lines().find(|line| line.starts_with(&row)) else {
                return Some(format!("docs/wire.md, Limits, lacks {row}"));
            };
            let test = line.trim_end_matches(" |").rsplit("| ").next().unwrap_or_default().trim_matches('`');
            let is_there = tests.contains(&format!("fn {test}("));
            (!is_there).then(|| format!("docs/wire.md names no test for {row}: {test}"))
        })
        .collect();
    assert_none(&faults);
}

#[test]
fn transcripts_in_documents_are_tested() {
    let tests: String = ["transcripts", "refusals", "maps", "streams"]
        .map(|name| read(&format!("core/tests/session/{name}.rs")))
        .concat();
    let document = read("docs/wire.md");
    let said = document.lines().map(str::trim).filter(|line| line.starts_with("c> ") || line.starts_with("s> "));
    let untested: Vec<_> = said.filter(|line| !tests.contains(line)).map(str::to_owned).collect();
    assert_none(&untested);
}
