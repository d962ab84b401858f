//! Compiler messages for misused macros: every file in `tests/ui` fails to compile with the messages in the
//! file beside it. `TRYBUILD=overwrite` rewrites those; read the diff. Files in `tests/ui/pass` compile, under
//! strict lints.

#[test]
fn misuse_is_reported() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    cases.pass("tests/ui/pass/*.rs");
}
