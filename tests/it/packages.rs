//! Programs that tests run and that are not Rust: TypeScript's compiler and the packages of
//! `tests/typescript`. Whoever lacks one is told what to install; `BOWLINE_SKIP=node` does without.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// Whether `BOWLINE_SKIP`, a list with commas, leaves this part out.
pub(crate) fn skips(part: &str) -> bool {
    std::env::var("BOWLINE_SKIP").is_ok_and(|parts| parts.split(',').any(|name| name == part))
}

/// Compiles the TypeScript of a folder, whose `tsconfig.json` says what that is.
pub(crate) fn compile(folder: &str) {
    if skips("node") {
        return;
    }
    install();
    let compiler = Path::new(PACKAGES).join("node_modules/typescript/bin/tsc");
    let run = Command::new("node").arg(compiler).arg("--project").arg(folder).output().expect("node starts");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "tsc --project {folder}\n{said}");
}

/// The folder whose `package.json` names the packages.
pub(crate) const PACKAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/typescript");

/// Installs the packages, once.
pub(crate) fn install() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        if Path::new(PACKAGES).join("node_modules/.package-lock.json").exists() {
            return;
        }
        let run = Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(PACKAGES).output();
        let Ok(run) = run else {
            panic!("node and npm are missing: apt-get install nodejs npm (20 or later), or set BOWLINE_SKIP=node")
        };
        assert!(run.status.success(), "npm ci in {PACKAGES}\n{}", String::from_utf8_lossy(&run.stderr));
    });
}
