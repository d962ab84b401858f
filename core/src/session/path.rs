//! The way from a value to one of its parts.

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

/// The name of a property or a method. A short one lies in place.
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

/// The way from a value to one of its parts; empty is the value itself. A single step, as most have,
/// lies in place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Path(SmallVec<[Step; 1]>);

impl Path {
    /// The value itself.
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes one step further.
    pub fn push(&mut self, step: Step) {
        self.0.push(step);
    }

    /// Whether it is the value itself.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Without so many steps, which are taken.
    pub(crate) fn after(mut self, steps: usize) -> Self {
        if steps > 0 {
            self.0.drain(..steps);
        }
        self
    }
}

impl Deref for Path {
    type Target = [Step];

    fn deref(&self) -> &[Step] {
        &self.0
    }
}

impl From<Step> for Path {
    fn from(step: Step) -> Self {
        Self(SmallVec::from_buf([step]))
    }
}

impl From<&[Step]> for Path {
    fn from(steps: &[Step]) -> Self {
        Self(steps.into())
    }
}

impl From<Vec<Step>> for Path {
    fn from(steps: Vec<Step>) -> Self {
        steps.into_iter().collect()
    }
}

impl FromIterator<Step> for Path {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        Self(steps.into_iter().collect())
    }
}

impl Extend<Step> for Path {
    fn extend<I: IntoIterator<Item = Step>>(&mut self, steps: I) {
        self.0.extend(steps);
    }
}

impl IntoIterator for Path {
    type Item = Step;
    type IntoIter = smallvec::IntoIter<[Step; 1]>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
