//! The list of differences that are allowed, `tests/node/differential/allowed.md`, and which of
//! them have been met.

use std::collections::BTreeSet;

const LIST: &str = include_str!("../../node/differential/allowed.md");

/// One table of the list.
pub(super) struct Allowed {
    pub(super) ids: Vec<&'static str>,
    met: BTreeSet<String>,
}

impl Allowed {
    /// The three tables: from Rust, from JavaScript, and of texts.
    pub(super) fn tables() -> [Self; 3] {
        let mut tables: Vec<Self> = Vec::new();
        for line in LIST.lines() {
            match line.strip_prefix("| ").and_then(|row| row.split_once(" | ")) {
                Some(("id", _)) => tables.push(Self { ids: Vec::new(), met: BTreeSet::new() }),
                Some((id, row)) => {
                    assert!(row.trim_end_matches(" |").split(" | ").count() == 2, "no reason is given for {id}");
                    tables.last_mut().expect("a table begins with its head").ids.push(id);
                }
                None => {}
            }
        }
        tables.try_into().ok().expect("allowed.md has three tables")
    }

    /// The differences but for one.
    pub(super) fn without(&self, id: &str) -> Vec<&'static str> {
        self.ids.iter().copied().filter(|other| *other != id).collect()
    }

    /// A value was different in this way.
    pub(super) fn met(&mut self, id: &str) {
        self.met.insert(id.to_owned());
    }

    /// The differences that no value has shown yet.
    pub(super) fn unmet(&self) -> Vec<&'static str> {
        self.ids.iter().copied().filter(|id| !self.met.contains(*id)).collect()
    }

    /// Every difference of the list must have been met, or the list is not true any more.
    pub(super) fn check(&self, table: &str) {
        let unmet = self.unmet();
        assert!(unmet.is_empty(), "allowed.md lists differences {table} that do not occur: {unmet:?}");
    }
}
