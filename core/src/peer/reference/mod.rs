//! References and the local objects behind them: calling, passing, attenuating, and delivering.

pub(crate) mod attenuation;
pub(crate) mod calling;
pub(crate) mod deliver;
pub(crate) mod func;
pub(crate) mod local;
pub(crate) mod lowering;
pub(crate) mod map;
pub(crate) mod pipeline;
pub(crate) mod promise;
pub(crate) mod readable;
pub(crate) mod recipe;
pub(crate) mod record;
pub(crate) mod repeats;
pub(crate) mod settle;
pub(crate) mod spool;
pub(crate) mod stub;
pub(crate) mod typed;
