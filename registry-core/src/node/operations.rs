//! Running application commands: what each one still waits for, and until when.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use bytes::Bytes;

use crate::catalog::{PackageSpec, ReleaseInfo};
use crate::collections::DeadlineIndex;
use crate::command::CommandError;
use crate::id::{BlockId, DialId, OpId, PeerId, PublisherId};
use crate::kad::QueryId;
use crate::time::{Duration, Instant};

/// Commands running at once; more are refused as `Busy`.
pub(super) const MAX_OPERATIONS: usize = 1024;

/// A publish, a resolve or a dial that has not ended by itself ends then. Fetches and lookups have their own bounds.
pub(super) const OPERATION_TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(super) enum Operation {
    Publish(Publish),
    PublishBatch,
    /// A resolve that waits until this node has compared catalogues with some peer.
    Joining(PackageSpec),
    Resolve(Resolve),
    Fetch,
    /// A search or a resolve of a node without a catalogue.
    Light,
    Connect {
        dial: DialId,
    },
    Dht {
        query: QueryId,
        kind: DhtKind,
    },
    Pubsub,
}

/// A publish after `Announce`; before that both answers are missing and there is no release.
#[derive(Debug, Default)]
pub(super) struct Publish {
    pub(super) release: Option<Arc<ReleaseInfo>>,
    /// DHT servers that acknowledged the head record.
    pub(super) acks: Option<u32>,
    /// Pubsub peers.
    pub(super) sent: Option<u32>,
}

#[derive(Debug)]
pub(super) struct Resolve {
    pub(super) spec: PackageSpec,
    pub(super) publisher: PublisherId,
    /// The lookup of the head record, while it runs.
    pub(super) query: Option<QueryId>,
}

#[derive(Debug)]
pub(super) enum DhtKind {
    Put,
    Get,
    Provide,
    FindProviders,
    FindPeer(PeerId),
    Closest,
}

/// What a Kademlia query is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// Providers of a content that is being fetched.
    Content(BlockId),
    /// Holders of a publisher's log.
    Holders(PublisherId),
    /// Does the network know a longer copy of the own log?
    OwnLog,
    /// The head record of a publisher some `Resolve` asks for.
    Head(OpId),
    /// An announcement.
    Announce,
    /// A DHT command.
    Command(OpId),
}

#[derive(Debug, Default)]
pub(super) struct Operations {
    running: BTreeMap<OpId, Operation>,
    deadlines: DeadlineIndex<OpId>,
    queries: BTreeMap<QueryId, Purpose>,
    next: u64,
}

impl Operations {
    pub(super) fn check_room(&self) -> Result<(), CommandError> {
        if self.running.len() < MAX_OPERATIONS { Ok(()) } else { Err(CommandError::Busy) }
    }

    pub(super) fn next_id(&mut self) -> OpId {
        self.next += 1;
        OpId(self.next)
    }

    pub(super) fn insert(&mut self, op: OpId, operation: Operation, deadline: Option<Instant>) {
        self.running.insert(op, operation);
        if let Some(at) = deadline {
            self.deadlines.set(op, at);
        }
    }

    pub(super) fn get_mut(&mut self, op: OpId) -> Option<&mut Operation> {
        self.running.get_mut(&op)
    }

    pub(super) fn publish_mut(&mut self, op: OpId) -> Option<&mut Publish> {
        if let Some(Operation::Publish(publish)) = self.running.get_mut(&op) { Some(publish) } else { None }
    }

    pub(super) fn contains(&self, op: OpId) -> bool {
        self.running.contains_key(&op)
    }

    pub(super) fn remove(&mut self, op: OpId) -> Option<Operation> {
        self.deadlines.clear(op);
        self.running.remove(&op)
    }

    /// What resolves look for that more of this publisher's log may bring.
    pub(super) fn specs_of(&self, publisher: PublisherId) -> impl Iterator<Item = (OpId, &PackageSpec)> {
        self.running.iter().filter_map(move |(op, operation)| {
            let spec = match operation {
                Operation::Joining(spec) | Operation::Resolve(Resolve { spec, .. }) => spec,
                Operation::Publish(_)
                | Operation::PublishBatch
                | Operation::Fetch
                | Operation::Light
                | Operation::Connect { .. }
                | Operation::Dht { .. }
                | Operation::Pubsub => return None,
            };
            spec.publisher.is_none_or(|wanted| wanted == publisher).then_some((*op, spec))
        })
    }

    pub(super) fn joining(&self) -> impl Iterator<Item = OpId> {
        self.running.iter().filter(|(_, operation)| matches!(operation, Operation::Joining(_))).map(|(op, _)| *op)
    }

    /// The `Resolve` operations that wait for a publisher's log.
    pub(super) fn resolves_of(&self, publisher: PublisherId) -> impl Iterator<Item = (OpId, &Resolve)> {
        self.running.iter().filter_map(move |(op, operation)| {
            let Operation::Resolve(resolve) = operation else { return None };
            (resolve.publisher == publisher).then_some((*op, resolve))
        })
    }

    pub(super) fn connect_of(&self, dial: DialId) -> Option<OpId> {
        let is_of = |operation: &Operation| matches!(operation, Operation::Connect { dial: own } if *own == dial);
        self.running.iter().find(|(_, operation)| is_of(operation)).map(|(op, _)| *op)
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<OpId> {
        self.deadlines.pop_due(now)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    pub(super) fn start_query(&mut self, query: QueryId, purpose: Purpose) {
        self.queries.insert(query, purpose);
    }

    pub(super) fn end_query(&mut self, query: QueryId) -> Option<Purpose> {
        self.queries.remove(&query)
    }

    pub(super) fn purpose(&self, query: QueryId) -> Option<&Purpose> {
        self.queries.get(&query)
    }

    /// Is a query for this purpose running?
    pub(super) fn is_asking(&self, purpose: &Purpose) -> bool {
        self.queries.values().any(|running| running == purpose)
    }

    pub(super) fn len(&self) -> usize {
        self.running.len()
    }
}

/// What is announced to the DHT.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Announcement {
    /// This publisher's head record, as the catalogue has it when the announcement starts.
    Record(PublisherId),
    /// This node as a provider of a multihash.
    Provider(Bytes),
}
