//! TypeScript's compiler, which `tests/node/package.json` names. Whoever lacks it is told what to
//! install; `BOWLINE_SKIP=node` does without.

use std::process::Command;

/// What to do when something of npm's is not there.
pub(crate) const MISSING: &str = "apt-get install nodejs npm && npm ci --prefix tests/node, or set BOWLINE_SKIP=node";

const COMPILER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/node_modules/typescript/bin/tsc");

/// Whether `BOWLINE_SKIP`, a list with commas, leaves this part out.
pub(crate) fn skips(part: &str) -> bool {
    std::env::var("BOWLINE_SKIP").is_ok_and(|parts| parts.split(',').any(|name| name == part))
}

/// Compiles the TypeScript of a folder, whose `tsconfig.json` says what that is.
pub(crate) fn compile(folder: &str) {
    if skips("node") {
        return;
    }
    assert!(std::fs::exists(COMPILER).is_ok_and(|there| there), "{MISSING}");
    let run = Command::new("node").args([COMPILER, "--project", folder]).output().expect(MISSING);
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "tsc --project {folder}\n{said}");
}
