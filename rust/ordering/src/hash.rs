//! The maps of the core: a fast hash with a seed of the process's own. Nothing that the core does depends on their order.

#[cfg(feature = "repeatable")]
use foldhash::fast::FixedState as RandomState;
#[cfg(not(feature = "repeatable"))]
use foldhash::fast::RandomState;

pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;
pub(crate) type HashSet<K> = std::collections::HashSet<K, RandomState>;
