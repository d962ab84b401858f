//! Property paths.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::value::Text;

/// One step of a property path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Step {
    /// A property or method.
    Name(Name),
    /// An element of an array.
    Index(u64),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Index(index) => index.fmt(f),
        }
    }
}

/// The name of a property or a method. Short names are stored inline.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Name(Text);

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.0 == *other
    }
}

impl PartialEq<Name> for str {
    fn eq(&self, other: &Name) -> bool {
        *self == *other.0
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.0 == **other
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<N: AsRef<str>> From<N> for Name {
    fn from(name: N) -> Self {
        Self(Text::new(name))
    }
}

/// The path from a value to one of its parts. The empty path is the value itself. A single step is
/// stored inline.
///
/// A path may remember leading steps that were already walked. They are no longer part of it, but
/// errors name the whole path as the caller wrote it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Path {
    steps: SmallVec<[Step; 1]>,
    /// The number of leading steps that were walked.
    taken: usize,
}

/// Paths are equal if their remaining steps are.
impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Path {}

/// A path in a snapshot.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Whole(SmallVec<[Step; 1]>),
    Rest { taken: SmallVec<[Step; 1]>, rest: SmallVec<[Step; 1]> },
}

impl From<Path> for Stored {
    fn from(Path { mut steps, taken }: Path) -> Self {
        if taken == 0 {
            return Self::Whole(steps);
        }
        let rest = steps.drain(taken..).collect();
        Self::Rest { taken: steps, rest }
    }
}

impl From<Stored> for Path {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Whole(steps) => Self { steps, taken: 0 },
            Stored::Rest { taken: mut steps, rest } => {
                let taken = steps.len();
                steps.extend(rest);
                Self { steps, taken }
            }
        }
    }
}

impl Path {
    /// Creates an empty path.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a step.
    pub fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Returns `true` if no step remains.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Marks the first `steps` steps as walked.
    pub(crate) fn after(self, steps: usize) -> Self {
        Self { taken: (self.taken + steps).min(self.steps.len()), ..self }
    }

    /// Returns the whole path joined by dots, walked steps included, for use in errors.
    pub(crate) fn dotted(&self) -> String {
        self.steps.iter().map(Step::to_string).collect::<Vec<_>>().join(".")
    }
}

impl Deref for Path {
    type Target = [Step];

    fn deref(&self) -> &[Step] {
        self.steps.get(self.taken..).unwrap_or_default()
    }
}

impl From<Step> for Path {
    fn from(step: Step) -> Self {
        Self { steps: SmallVec::from_buf([step]), taken: 0 }
    }
}

impl From<&[Step]> for Path {
    fn from(steps: &[Step]) -> Self {
        Self { steps: steps.into(), taken: 0 }
    }
}

impl From<Vec<Step>> for Path {
    fn from(steps: Vec<Step>) -> Self {
        steps.into_iter().collect()
    }
}

impl FromIterator<Step> for Path {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        Self { steps: steps.into_iter().collect(), taken: 0 }
    }
}

impl Extend<Step> for Path {
    fn extend<I: IntoIterator<Item = Step>>(&mut self, steps: I) {
        self.steps.extend(steps);
    }
}

impl IntoIterator for Path {
    type Item = Step;
    type IntoIter = std::iter::Skip<smallvec::IntoIter<[Step; 1]>>;

    fn into_iter(self) -> Self::IntoIter {
        self.steps.into_iter().skip(self.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_remembers_walked_steps() {
        let names = ["a", "b", "c"].map(|name| Step::Name(name.into()));
        let rest = Path::from(names.to_vec()).after(1).after(1);
        assert_eq!((&*rest, rest.dotted().as_str()), (&names[2..], "a.b.c"));
        assert_eq!(rest.clone().into_iter().collect::<Path>(), Path::from(&names[2..]));
        let stored = Path::from(Stored::from(rest.clone()));
        assert_eq!((&*stored, stored.dotted().as_str()), (&*rest, "a.b.c"));
        assert!(matches!(Stored::from(Path::from(&names[2..])), Stored::Whole(_)));
        assert!(rest.after(9).is_empty());
    }
}
