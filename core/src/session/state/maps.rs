//! Maps whose input is awaited, and maps that run, as data.

use serde::{Deserialize, Serialize};

use super::{Path, Ref};
use crate::value::Payload;

/// A function that was recorded by the caller of a map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mapper {
    /// The references that it captures, each held once.
    pub(crate) captures: Vec<Ref>,
    /// The text of a list of expressions. They run in order, and the last one is the result.
    pub(crate) instructions: String,
    /// The number of instructions that may run, inner maps included.
    pub(crate) budget: u64,
    /// The result of the peer that is awaited as input, held once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) input: Option<Ref>,
    /// The path from what is awaited to the input. It is walked only when that has arrived, so that
    /// no later call on the same property is made first.
    #[serde(default, skip_serializing_if = "Path::is_empty")]
    pub(crate) path: Path,
}

impl Mapper {
    pub(crate) fn new(captures: Vec<Ref>, instructions: String, budget: u64) -> Self {
        Self { captures, instructions, budget, input: None, path: Path::new() }
    }
}

/// A map that runs element by element.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mapping {
    pub(crate) mapper: Mapper,
    /// The input.
    pub(crate) list: Payload<Ref>,
    /// The position of the next element, and the number of references before it.
    pub(crate) at: usize,
    pub(crate) refs: usize,
    pub(crate) elements: usize,
    pub(crate) share: u64,
    /// The results of the elements so far.
    pub(crate) results: Vec<Ref>,
}
