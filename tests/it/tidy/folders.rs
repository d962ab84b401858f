//! The folders inside of a module of core: their imports form no cycle.

use std::collections::{BTreeMap, BTreeSet};

use super::{File, assert_none, files, paths, read, starts};

/// The modules of core whose folders are checked.
const MODULES: [&str; 2] = ["peer", "session"];

/// The first import of each pair of nodes: who names whom, and where.
type Arrows = BTreeMap<String, BTreeMap<String, String>>;

/// Returns the node of a path below a module: its folder, or the file if it stands directly in the module.
fn node(rest: &str) -> &str {
    rest.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

/// Returns the paths, from the module on, that a line of a file names.
fn named(module: &str, rest: &str, line: &str) -> Vec<String> {
    let is_child_of_module = !rest.contains('/') || rest.ends_with("/mod.rs");
    let mut named: Vec<String> = starts(line, &format!("crate::{module}::")).flat_map(paths).collect();
    if is_child_of_module && rest != "mod.rs" && !rest.trim_end_matches("/mod.rs").contains('/') {
        named.extend(starts(line, "super::").flat_map(paths));
    }
    named
}

fn arrows(module: &str, files: &[File]) -> Arrows {
    let folder = format!("core/src/{module}/");
    let sources = || files.iter().filter_map(|file| Some((file, file.path.strip_prefix(&folder)?)));
    let nodes: Vec<&str> = sources().map(|(_, rest)| node(rest)).collect();
    let mut arrows = Arrows::new();
    for (file, rest) in sources() {
        let from = node(rest);
        let code = file.code().take_while(|(_, line)| !line.contains("#[cfg(test)]"));
        for (number, line) in code {
            for path in named(module, rest, line) {
                // A name that is no folder or file comes from the module itself, which names all of them.
                let first = path.split("::").next().unwrap_or_default();
                let to = if nodes.contains(&first) { first } else { "mod" };
                if to != from {
                    let place = format!("{}:{number} names {module}::{path}", file.path);
                    arrows.entry(from.to_owned()).or_default().entry(to.to_owned()).or_insert(place);
                }
            }
        }
    }
    arrows
}

/// Returns the imports of a cycle that can be reached from the last node of `way`, if there is one.
fn cycle(arrows: &Arrows, way: &mut Vec<String>, done: &mut Vec<String>) -> Option<Vec<String>> {
    let from = way.last().cloned().unwrap_or_default();
    for to in arrows.get(&from).into_iter().flat_map(BTreeMap::keys) {
        if let Some(at) = way.iter().position(|node| node == to) {
            let nodes = way[at..].iter().chain([to]).collect::<Vec<_>>();
            return Some(nodes.windows(2).map(|pair| arrows[pair[0]][pair[1]].clone()).collect());
        }
        if !done.contains(to) {
            way.push(to.clone());
            if let Some(found) = cycle(arrows, way, done) {
                return Some(found);
            }
            way.pop();
        }
    }
    done.push(from);
    None
}

#[test]
fn imports_between_folders_of_core_form_no_cycle() {
    let files = files();
    let mut faults = Vec::new();
    for module in MODULES {
        let arrows = arrows(module, &files);
        assert!(!arrows.is_empty(), "core/src/{module} was not found");
        let mut done = Vec::new();
        for from in arrows.keys() {
            if let Some(found) = cycle(&arrows, &mut vec![from.clone()], &mut done) {
                faults.push(format!("a cycle of folders in core/src/{module}:\n  {}", found.join("\n  ")));
                break;
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn table_of_folders_matches_the_architecture() {
    let (files, document) = (files(), read("ARCHITECTURE.md"));
    let mut missing = Vec::new();
    for module in MODULES {
        let arrows = arrows(module, &files);
        let inside = |file: &File| {
            let rest = file.path.strip_prefix(&format!("core/src/{module}/"))?;
            rest.split_once('/').map(|(folder, _)| folder.to_owned())
        };
        let folders: BTreeSet<String> = files.iter().filter_map(inside).collect();
        for folder in &folders {
            let named = arrows.get(folder).into_iter().flat_map(BTreeMap::keys).filter(|to| folders.contains(*to));
            let named: Vec<String> = named.map(|to| format!("`{to}`")).collect();
            let list = if named.is_empty() { "–".to_owned() } else { named.join(", ") };
            let row = format!("| `{module}/{folder}` | {list} |");
            missing.extend((!document.contains(&row)).then_some(row));
        }
    }
    assert_none(&missing);
}

#[test]
fn cycle_of_imports_is_found_and_printed() {
    let file = |path: &str, text: &str| File { path: format!("core/src/m/{path}"), text: text.to_owned() };
    let sources = [
        file("mod.rs", "mod a;\nmod b;\nmod leaf;\npub use a::A;\n"),
        file("a/mod.rs", "mod inner;\nuse super::leaf::Leaf;\n"),
        file("a/inner.rs", "use super::other;\nuse crate::m::b::{B, C};\n"),
        file("b/mod.rs", "// use crate::m::a::A;\nuse crate::m::leaf::Leaf;\n"),
        file("leaf.rs", "#[cfg(test)]\nuse crate::m::a::A;\n"),
    ];
    let found = |sources: &[File]| cycle(&arrows("m", sources), &mut vec!["a".to_owned()], &mut Vec::new());
    assert_eq!(found(&sources), None);
    for (name, text, import) in [
        ("b/of_a.rs", "use crate::m::a::A;\n", "core/src/m/b/of_a.rs:1 names m::a::A"),
        ("b/of_root.rs", "\nfn f(_: crate::m::A) {}\n", "core/src/m/b/of_root.rs:2 names m::A"),
    ] {
        let mut sources =
            Vec::from(sources.each_ref().map(|file_| file(&file_.path["core/src/m/".len()..], &file_.text)));
        sources.push(file(name, text));
        sources[0].text.push_str("use crate::m::b::B;\n");
        let cycle = found(&sources).expect("there is a cycle");
        assert!(cycle.iter().any(|place| place == import), "{cycle:?}");
    }
}
