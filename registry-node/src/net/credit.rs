//! What peers may make the node hold.
//!
//! Back-pressure without ever blocking the swarm: what a connection has delivered and the node has not taken yet counts
//! against the connection's credit, and a connection without credit is not read from. Frames that have not arrived in
//! full count against an allowance of their connection and of all connections; a stream that finds none is reset.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

/// Bytes one connection may have waiting for the node. One frame may exceed it, so that every legal frame fits.
const LIMIT: usize = 1024 * 1024;
/// What a message costs beside its frame, so that floods of tiny ones are bounded too.
const PER_MESSAGE: usize = 4 * 1024;

/// The credit of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Credit(Arc<State>);

#[derive(Debug, Default)]
struct State {
    used: AtomicUsize,
    waker: AtomicWaker,
}

impl Credit {
    /// Uses credit for one message until the permit is dropped.
    pub(super) fn take(&self, frame: usize) -> Permit {
        let cost = frame + PER_MESSAGE;
        self.0.used.fetch_add(cost, Ordering::AcqRel);
        Permit { state: Arc::clone(&self.0), cost }
    }

    /// Ready while there is credit; otherwise wakes the task when some comes back.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.waker.register(cx.waker());
        if self.0.used.load(Ordering::Acquire) < LIMIT { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Gives its credit back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    state: Arc<State>,
    cost: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.state.used.fetch_sub(self.cost, Ordering::AcqRel);
        self.state.waker.wake();
    }
}

/// Bytes of unfinished frames on one connection: two of the largest frames.
const MAX_UNFINISHED: usize = 8 * 1024 * 1024;
/// Bytes of unfinished frames on all connections.
const MAX_UNFINISHED_IN_ALL: usize = 64 * 1024 * 1024;

/// Counts the bytes of unfinished frames of one connection, and of all.
#[derive(Clone, Debug, Default)]
pub(super) struct Allowance {
    all: Arc<AtomicUsize>,
    connection: Arc<AtomicUsize>,
}

impl Allowance {
    /// Of a further connection beside this one.
    pub(super) fn of_connection(&self) -> Self {
        Self { all: Arc::clone(&self.all), connection: Arc::default() }
    }

    /// Nothing held yet.
    pub(super) fn hold(&self) -> Held {
        Held { allowance: self.clone(), bytes: 0 }
    }
}

/// The bytes one stream holds.
#[derive(Debug)]
pub(super) struct Held {
    allowance: Allowance,
    bytes: usize,
}

impl Held {
    /// Holds so many bytes more. False when that is too much.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        let connection = self.allowance.connection.fetch_add(bytes, Ordering::AcqRel) + bytes;
        let all = self.allowance.all.fetch_add(bytes, Ordering::AcqRel) + bytes;
        connection <= MAX_UNFINISHED && all <= MAX_UNFINISHED_IN_ALL
    }

    /// Holds nothing any more.
    pub(super) fn release(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.allowance.connection.fetch_sub(bytes, Ordering::AcqRel);
        self.allowance.all.fetch_sub(bytes, Ordering::AcqRel);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::task::noop_waker_ref;

    #[test]
    fn credit_runs_out_and_comes_back() {
        let credit = Credit::default();
        let cx = Context::from_waker(noop_waker_ref());
        let mut permits = Vec::new();
        while credit.poll(&cx).is_ready() {
            permits.push(credit.take(0));
        }
        assert_eq!(permits.len(), LIMIT / PER_MESSAGE);
        permits.pop();
        assert!(credit.poll(&cx).is_ready());
    }

    #[test]
    fn unfinished_frames_are_bounded_per_connection_and_in_all() {
        let all = Allowance::default();
        let mut connections = Vec::new();
        for _ in 0..MAX_UNFINISHED_IN_ALL / MAX_UNFINISHED {
            let mut held = all.of_connection().hold();
            assert!(held.grow(MAX_UNFINISHED));
            connections.push(held);
        }
        let mut late = all.of_connection().hold();
        assert!(!late.grow(1));
        connections.pop();
        late.release();
        assert!(late.grow(MAX_UNFINISHED) && !late.grow(1));
        drop((late, connections));
        assert_eq!(all.all.load(Ordering::Acquire), 0);
    }
}
