//! Settings of the core at other values than its own.

use registry_core::{Config, Duration, Rng};
use serde::{Deserialize, Serialize};

use super::human;

/// One that may be set: a number, or a duration in microseconds.
trait Knob: Sized {
    type Setting;
    fn apply(&self, setting: &mut Self::Setting);
}

/// A number of things.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Count(pub usize);

/// A duration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(#[serde(with = "human")] pub u64);

impl Knob for Count {
    type Setting = usize;

    fn apply(&self, setting: &mut usize) {
        *setting = self.0;
    }
}

impl Knob for Time {
    type Setting = Duration;

    fn apply(&self, setting: &mut Duration) {
        *setting = Duration::from_micros(self.0);
    }
}

macro_rules! knobs {
    ($($(#[doc = $doc:literal])* $section:ident: $type:ident { $($name:ident: $kind:ident = [$($odd:expr),*],)* })*) => {
        /// Settings at other values than the core's own; a section for each of its machines.
        #[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Knobs {
            $($(#[doc = $doc])* #[serde(skip_serializing_if = "is_default")] pub $section: $type,)*
        }

        $(
            $(#[doc = $doc])*
            #[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
            #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
            pub struct $type {
                $(
                    #[doc = concat!("The core's `", stringify!($name), "`.")]
                    #[serde(skip_serializing_if = "Option::is_none")]
                    pub $name: Option<$kind>,
                )*
            }
        )*

        impl Knobs {
            /// The configuration with these settings.
            pub fn apply(&self, config: &mut Config) {
                $($(
                    if let Some(value) = &self.$section.$name {
                        value.apply(&mut config.$section.$name);
                    }
                )*)*
            }

            /// These settings, but for those that are given.
            pub fn beneath(self, given: &Self) -> Self {
                Self { $($section: $type { $($name: given.$section.$name.or(self.$section.$name),)* },)* }
            }

            /// One setting in `one_in` is at an odd value, of those that have any.
            pub fn odd(rng: &mut Rng, one_in: u64) -> Self {
                let mut knobs = Self::default();
                $($(
                    let odd: &[$kind] = &[$($kind($odd)),*];
                    if !odd.is_empty() && rng.chance(1, one_in) {
                        knobs.$section.$name = Some(odd[rng.index(odd.len())]);
                    }
                )*)*
                knobs
            }
        }
    };
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

const MS: u64 = 1_000;

knobs! {
    /// Connections and misbehaviour.
    peers: PeersKnobs {
        min_connections: Count = [6, 30],
        low_connections: Count = [25],
        max_connections: Count = [60],
        trim_grace: Time = [2_000 * MS],
        min_backoff: Time = [50 * MS, 4_000 * MS],
        max_backoff: Time = [20_000 * MS],
        max_known: Count = [128],
    }
    /// Kademlia.
    kad: KadKnobs {
        k: Count = [],
        alpha: Count = [1, 3, 20],
        beta: Count = [1, 6],
        request_timeout: Time = [2_000 * MS, 20_000 * MS],
        refresh_interval: Time = [30_000 * MS, 7_200_000 * MS],
        provider_republish: Time = [120_000 * MS],
        provider_ttl: Time = [],
        record_republish: Time = [120_000 * MS],
        max_provider_records: Count = [512],
        max_providers_per_key: Count = [20],
    }
    /// Gossipsub.
    gossip: GossipKnobs {
        d: Count = [5, 8],
        d_lazy: Count = [2, 12],
        gossip_factor_percent: Count = [0, 100],
        heartbeat: Time = [300 * MS, 2_000 * MS],
        history_length: Count = [8],
        prune_backoff: Time = [5_000 * MS],
        idontwant_threshold: Count = [0, 1_000_000],
    }
    /// Block exchange.
    exchange: ExchangeKnobs {
        max_providers: Count = [1, 2],
        window: Count = [1, 32],
        block_timeout: Time = [2_000 * MS],
        max_ledger: Count = [64],
        max_fetches: Count = [16],
    }
    /// Reconciliation.
    sync: SyncKnobs {
        interval: Time = [5_000 * MS, 120_000 * MS],
        request_timeout: Time = [3_000 * MS],
    }
}
