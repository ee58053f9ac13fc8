//! Containers whose iteration order cannot depend on a hash, deadlines and rates.

pub(crate) mod deadlines;
pub(crate) mod lookup;
pub(crate) mod pace;
pub(crate) mod peer_map;
pub(crate) mod seen;

pub(crate) use deadlines::DeadlineIndex;
pub(crate) use lookup::{HandleTable, LookupMap};
pub(crate) use pace::{Limit, Pace};
pub(crate) use peer_map::PeerMap;
pub(crate) use seen::SeenCache;
