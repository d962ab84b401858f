//! TypeScript's compiler, in the version of `tests/node/package.json`. If it is missing, tests fail and name
//! what to install; `BOWLINE_SKIP=node` skips them.

use std::process::Command;

/// What to do if Node.js or an npm package is missing.
pub(crate) const MISSING: &str = "apt-get install nodejs npm && npm ci --prefix tests/node, or set BOWLINE_SKIP=node";

const COMPILER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/node_modules/typescript/bin/tsc");

/// Returns `true` if the comma-separated list `BOWLINE_SKIP` contains `part`.
pub(crate) fn skips(part: &str) -> bool {
    std::env::var("BOWLINE_SKIP").is_ok_and(|parts| parts.split(',').any(|name| name == part))
}

/// Compiles the TypeScript of a folder that has a `tsconfig.json`. Panics with the compiler's output on an error.
pub(crate) fn compile(folder: &str) {
    if skips("node") {
        return;
    }
    assert!(std::fs::exists(COMPILER).is_ok_and(|there| there), "{MISSING}");
    let run = Command::new("node").args([COMPILER, "--project", folder]).output().expect(MISSING);
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "tsc --project {folder}\n{said}");
}
