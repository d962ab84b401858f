//! What the macros say when they are misused: every file in `tests/ui` fails to compile with the
//! words beside it. `TRYBUILD=overwrite` writes these anew; read what changed.

#[test]
fn misuse_is_explained() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
