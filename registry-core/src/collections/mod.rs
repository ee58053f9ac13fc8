//! Containers whose iteration order cannot depend on a hash.

pub(crate) mod deadlines;
pub(crate) mod lookup;
pub(crate) mod seen;

pub(crate) use deadlines::DeadlineIndex;
pub(crate) use lookup::LookupMap;
pub(crate) use seen::SeenCache;
