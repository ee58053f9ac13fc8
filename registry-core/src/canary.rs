//! Plausible bugs, planted one at a time, for a simulation to find. Without the feature `canary` there are none.

/// One bug.
#[cfg(feature = "canary")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Canary {
    /// A full bucket gives the place of a live entry to a newcomer.
    KadEvictsLive,
    /// A lookup ends when as many have answered as may be asked at once.
    KadEndsEarly,
    /// The closest to another key are named: its bytes are in the wrong order.
    KadWrongOrder,
    /// A provider record never expires.
    KadKeepsProviders,
    /// The seen cache and the replay floor forget at once.
    GossipForgetsSeen,
    /// Nobody keeps away after a PRUNE.
    GossipIgnoresBackoff,
    /// A mesh that has become too small is not filled again.
    GossipLeavesMesh,
    /// A block is taken for the one asked for last, whatever its hash.
    ExchangeTrustsBlocks,
    /// What was asked of a provider that is gone is not asked of others.
    ExchangeForgetsWants,
    /// An older head replaces a newer one.
    CatalogGoesBack,
    /// What the store has refused counts as stored.
    CatalogIgnoresStore,
    /// The last range of an answer is not looked at.
    SyncSkipsLast,
    /// A new version does not replace the old one in the index.
    SearchKeepsOld,
    /// A ban lasts a thousand times as long as it should.
    PeersNeverForgive,
    /// Whom a dial has not reached once is never dialled again.
    PeersGiveUp,
    /// The first answer is taken for the whole.
    LightBelievesFirst,
    /// Whoever does not answer in time is charged with an offence.
    LightBlamesSilent,
    /// A fetch that has failed does not end.
    NodeForgetsFailures,
}

#[cfg(feature = "canary")]
impl Canary {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::KadEvictsLive,
        Self::KadEndsEarly,
        Self::KadWrongOrder,
        Self::KadKeepsProviders,
        Self::GossipForgetsSeen,
        Self::GossipIgnoresBackoff,
        Self::GossipLeavesMesh,
        Self::ExchangeTrustsBlocks,
        Self::ExchangeForgetsWants,
        Self::CatalogGoesBack,
        Self::CatalogIgnoresStore,
        Self::SyncSkipsLast,
        Self::SearchKeepsOld,
        Self::PeersNeverForgive,
        Self::PeersGiveUp,
        Self::LightBelievesFirst,
        Self::LightBlamesSilent,
        Self::NodeForgetsFailures,
    ];
}

/// Is this bug planted in a node with this configuration?
macro_rules! planted {
    ($config:expr, $bug:ident) => {{
        #[cfg(feature = "canary")]
        let planted = $config.canary == Some($crate::canary::Canary::$bug);
        #[cfg(not(feature = "canary"))]
        let planted = false;
        planted
    }};
}
