//! Argument lists of any length: a number of typed arguments, followed by a list.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::ser::{SerializeTuple, Serializer};
use serde::{Deserialize, Serialize};

use super::args::ALL_ARGS;

/// The arguments of a call, nested: `Spread((a, (b, rest)))` is `a`, `b`, and each element of the list
/// `rest`. To decode into it, all arguments that were sent are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread<A>(
    /// One argument and the items that follow, or a `Vec` of all remaining ones.
    pub A,
);

/// The items of a [`Spread`]: `(argument, more)`, or a list.
pub trait Items {
    /// Returns the number of arguments.
    fn len(&self) -> usize;

    /// Returns `true` if there are no arguments.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the arguments one by one.
    ///
    /// # Errors
    /// The error of the first argument that cannot be written.
    fn write<S: SerializeTuple>(&self, to: &mut S) -> Result<(), S::Error>;
}

impl<A: Serialize, More: Items> Items for (A, More) {
    fn len(&self) -> usize {
        1 + self.1.len()
    }

    fn write<S: SerializeTuple>(&self, to: &mut S) -> Result<(), S::Error> {
        to.serialize_element(&self.0)?;
        self.1.write(to)
    }
}

impl<T: Serialize> Items for Vec<T> {
    fn len(&self) -> usize {
        Self::len(self)
    }

    fn write<S: SerializeTuple>(&self, to: &mut S) -> Result<(), S::Error> {
        self.iter().try_for_each(|item| to.serialize_element(item))
    }
}

impl<A: Items> Serialize for Spread<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.write(&mut tuple)?;
        tuple.end()
    }
}

/// A type that a [`Spread`] can be decoded into.
pub trait FromItems<'de>: Sized {
    /// The minimum number of arguments. Those that were not sent are undefined.
    const LEAST: usize;

    /// Reads all arguments, one by one.
    ///
    /// # Errors
    /// The error of the first argument that does not fit its type.
    fn read<S: SeqAccess<'de>>(from: &mut S) -> Result<Self, S::Error>;
}

impl<'de, A: Deserialize<'de>, More: FromItems<'de>> FromItems<'de> for (A, More) {
    const LEAST: usize = 1 + More::LEAST;

    fn read<S: SeqAccess<'de>>(from: &mut S) -> Result<Self, S::Error> {
        let first = from.next_element()?;
        let first = first.ok_or_else(|| serde::de::Error::custom("too few arguments"))?;
        Ok((first, More::read(from)?))
    }
}

impl<'de, T: Deserialize<'de>> FromItems<'de> for Vec<T> {
    const LEAST: usize = 0;

    fn read<S: SeqAccess<'de>>(from: &mut S) -> Result<Self, S::Error> {
        let mut rest = Self::new();
        while let Some(item) = from.next_element()? {
            rest.push(item);
        }
        Ok(rest)
    }
}

impl<'de, A: FromItems<'de>> Deserialize<'de> for Spread<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple_struct(ALL_ARGS, A::LEAST, All(PhantomData))
    }
}

struct All<A>(PhantomData<A>);

impl<'de, A: FromItems<'de>> Visitor<'de> for All<A> {
    type Value = Spread<A>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the arguments of a call")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut from: S) -> Result<Self::Value, S::Error> {
        A::read(&mut from).map(Spread)
    }
}
