//! Back-pressure on a peer without ever blocking the swarm: what a connection has delivered and the node has not taken
//! yet counts against the connection's credit, and a connection without credit is not read from.

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
}
