//! What a node does for others, and how much of everything it keeps: one table.

use crate::config::Config;

/// How much a node takes upon itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Role {
    /// Uses the network: asks peers, holds no catalogue.
    Light,
    /// Holds the catalogue, serves what it holds.
    #[default]
    Peer,
    /// A peer with room for many others, which newcomers enter through.
    Seed,
}

/// A row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Duties {
    /// Holds the catalogue: follows announcements, reconciles, serves searches and logs.
    pub catalogue: bool,
    /// Serves the DHT.
    pub dht: bool,
    /// Announces itself as a provider of what it has fetched.
    pub provides: bool,
    /// See [`PeersConfig`](crate::config::PeersConfig), like the next three.
    pub min_connections: usize,
    /// Connections left after trimming.
    pub low_connections: usize,
    /// Connections that lead to trimming.
    pub max_connections: usize,
    /// Peers the book keeps.
    pub max_known: usize,
}

impl Role {
    /// Its row of the table.
    #[rustfmt::skip]
    pub const fn duties(self) -> Duties {
        let [catalogue, dht, provides] = match self {
            Self::Light => [false, false, false],
            Self::Peer  => [true,  true,  true],
            Self::Seed  => [true,  true,  true],
        };
        let [min_connections, low_connections, max_connections, max_known] = match self {
            Self::Light => [ 8,  12,  20,   256],
            Self::Peer  => [12,  50, 200, 2_048],
            Self::Seed  => [24, 400, 800, 8_192],
        };
        Duties { catalogue, dht, provides, min_connections, low_connections, max_connections, max_known }
    }
}

impl Config {
    /// The default configuration with a role's limits.
    pub fn of(role: Role) -> Self {
        Self::default().in_role(role)
    }

    /// This configuration with a role's limits.
    pub fn in_role(self, role: Role) -> Self {
        let mut config = Self { role, ..self };
        let duties = role.duties();
        config.kad.server = duties.dht;
        config.peers.min_connections = duties.min_connections;
        config.peers.low_connections = duties.low_connections;
        config.peers.max_connections = duties.max_connections;
        config.peers.max_known = duties.max_known;
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_the_default() {
        assert_eq!(Config::of(Role::Peer), Config::default());
    }

    #[test]
    fn the_table_is_in_order() {
        for (row, role) in [Role::Light, Role::Peer, Role::Seed].map(|role| (role.duties(), role)) {
            assert!(row.min_connections < row.low_connections && row.low_connections < row.max_connections, "{role:?}");
            assert!(row.max_connections < row.max_known && row.catalogue == row.dht, "{role:?}");
            assert_eq!(Config::of(role).kad.server, row.dht);
        }
    }
}
