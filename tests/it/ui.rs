//! What the macros say when they are misused: every file in `tests/ui` fails to compile with the
//! words beside it. `TRYBUILD=overwrite` writes these anew; read what changed. What is in
//! `tests/ui/pass` compiles, under lints that its users may have.

#[test]
fn misuse_is_explained() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    cases.pass("tests/ui/pass/*.rs");
}
