//! The package of js/: what is built from its sources, how large that is, and what npm would publish.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tsc::{MISSING, skips};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/js");

/// The module that the example and the tests of tests/node import.
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/browser/bowline-client.js");

/// The maximum size of the module, compressed with gzip.
const GZIPPED_BYTES_MAX: usize = 12_000;

/// Builds the package into an empty folder.
fn built(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::remove_dir_all(&folder).ok();
    let run = Command::new("node").arg(format!("{FOLDER}/build.mjs")).arg(&folder).output().expect(MISSING);
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{said}\n{MISSING}");
    folder
}

#[test]
fn shipped_module_equals_a_fresh_build() {
    if skips("node") {
        return;
    }
    let fresh = std::fs::read_to_string(built("js-fresh").join("standalone.js")).expect("the module is built");
    let shipped = std::fs::read_to_string(SHIPPED).expect("the module is in the repository");
    let command = "node js/build.mjs && cp js/dist/standalone.js examples/browser/bowline-client.js";
    assert!(fresh == shipped, "outdated; run {command}");
}

#[test]
fn module_is_small_and_imports_nothing_but_capnweb() {
    if skips("node") {
        return;
    }
    let module = built("js-size").join("index.js");
    let script = "const { gzipSync } = require('node:zlib'); \
                  console.log(gzipSync(require('node:fs').readFileSync(process.argv[1]), { level: 9 }).length)";
    let run = Command::new("node").args(["-e", script]).arg(&module).output().expect(MISSING);
    let bytes: usize = String::from_utf8_lossy(&run.stdout).trim().parse().expect("a number");
    println!("{bytes} bytes, compressed");
    assert!(bytes <= GZIPPED_BYTES_MAX, "the module has {bytes} bytes; the maximum is {GZIPPED_BYTES_MAX}");
    let text = std::fs::read_to_string(module).expect("the module is built");
    let imports: Vec<_> = text.match_indices("}from\"").map(|(at, _)| text[at + 6..].split('"').next()).collect();
    assert_eq!(imports, [Some("capnweb")]);
}

#[test]
fn published_files_are_the_module_its_types_and_its_sources() {
    if skips("node") {
        return;
    }
    let folder = built("js-pack");
    let package = folder.join("package");
    std::fs::create_dir_all(package.join("src")).expect("a folder");
    std::fs::create_dir_all(package.join("dist")).expect("a folder");
    for file in ["package.json", "README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        std::fs::copy(format!("{FOLDER}/{file}"), package.join(file)).expect("the file exists");
    }
    for (from, to) in [(PathBuf::from(format!("{FOLDER}/src")), "src"), (folder.clone(), "dist")] {
        for file in std::fs::read_dir(from).expect("a folder").map(|file| file.expect("a file").path()) {
            if file.is_file() {
                std::fs::copy(&file, package.join(to).join(file.file_name().expect("a name")))
                    .expect("the file exists");
            }
        }
    }
    let pack = Command::new("npm").args(["pack", "--dry-run", "--json", "--offline"]).current_dir(&package).output();
    let packed: serde_json::Value = serde_json::from_slice(&pack.expect(MISSING).stdout).expect("npm prints JSON");
    let files = packed[0]["files"].as_array().expect("a list of files");
    let mut files: Vec<_> = files.iter().map(|file| file["path"].as_str().expect("a path")).collect();
    files.sort_unstable();
    let sources = files.iter().filter(|file| file.starts_with("src/") && file.ends_with(".ts")).count();
    let types = files.iter().filter(|file| file.starts_with("dist/") && file.ends_with(".d.ts")).count();
    assert_eq!(sources, types, "{files:?}");
    files.retain(|file| !file.ends_with(".ts"));
    let others =
        ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "dist/index.js", "dist/index.js.map", "dist/standalone.js"];
    assert_eq!(files, [&others[..], &["package.json"]].concat());
}
