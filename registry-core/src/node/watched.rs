//! A machine, and what the node need not ask it again.

use alloc::boxed::Box;
use core::fmt;
use core::ops::{Deref, DerefMut};

use crate::catalog::{Catalog, CatalogEvent};
use crate::exchange::{Exchange, ExchangeEvent};
use crate::gossip::{Gossip, GossipEvent};
use crate::kad::{Kad, KadEvent};
use crate::light::{Light, LightEvent};
use crate::peers::{PeerEvent, Peers};
use crate::sync::{Sync, SyncEvent};
use crate::time::Instant;

/// What the node asks of its machines after every call.
pub(super) trait Machine {
    /// What it raises for its siblings.
    type Event;

    /// The next event, in order.
    fn poll_event(&mut self) -> Option<Self::Event>;

    /// When it wants to be called.
    fn next_deadline(&self) -> Option<Instant>;
}

macro_rules! machines {
    ($($machine:ident raises $event:ident),*) => {$(
        impl Machine for $machine {
            type Event = $event;

            fn poll_event(&mut self) -> Option<$event> {
                $machine::poll_event(self)
            }

            fn next_deadline(&self) -> Option<Instant> {
                $machine::next_deadline(self)
            }
        }
    )*};
}

machines! {
    Peers raises PeerEvent,
    Kad raises KadEvent,
    Gossip raises GossipEvent,
    Exchange raises ExchangeEvent,
    Catalog raises CatalogEvent,
    Sync raises SyncEvent,
    Light raises LightEvent
}

/// Lends its machine. Most calls reach two of the seven: only what was lent mutably since it was last without events can
/// have raised some, or want to be called at another time. The answers lie together, away from the machines.
pub(super) struct Watched<M> {
    machine: Box<M>,
    /// While at rest: when the machine wants to be called.
    at_rest: Option<Option<Instant>>,
}

impl<M: Machine> Watched<M> {
    pub(super) fn new(machine: M) -> Self {
        Self { machine: Box::new(machine), at_rest: None }
    }

    pub(super) fn poll_event(&mut self) -> Option<M::Event> {
        if self.at_rest.is_some() {
            return None;
        }
        let event = self.machine.poll_event();
        if event.is_none() {
            self.at_rest = Some(self.machine.next_deadline());
        }
        event
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.at_rest.unwrap_or_else(|| self.machine.next_deadline())
    }
}

impl<M> Deref for Watched<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.machine
    }
}

impl<M> DerefMut for Watched<M> {
    fn deref_mut(&mut self) -> &mut M {
        self.at_rest = None;
        &mut self.machine
    }
}

impl<M: fmt::Debug> fmt::Debug for Watched<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.machine.fmt(f)
    }
}
