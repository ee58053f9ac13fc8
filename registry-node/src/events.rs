//! From the node's events to whoever waits for them, without ever waiting for a reader.

use std::collections::HashMap;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::channel::{mpsc, oneshot};
use futures::{Stream, StreamExt};
use registry_core::event::Stage;
use registry_core::{Event, OpId};

/// Events a reader may be behind.
const READER_QUEUE: usize = 1024;
/// Stages of an operation a reader may be behind; further ones are left out.
const STAGE_QUEUE: usize = 16;

/// One item of a [`Subscription`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// It happened.
    Event(Event),
    /// So many events came at this point that this reader was too slow for.
    Missed(u64),
}

/// The node's events that belong to no operation: peers, updates, pubsub messages.
#[derive(Debug)]
pub struct Subscription(mpsc::Receiver<Notice>);

impl Stream for Subscription {
    type Item = Notice;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        self.0.poll_next_unpin(cx)
    }
}

#[derive(Debug)]
pub(crate) struct Reader {
    queue: mpsc::Sender<Notice>,
    missed: u64,
}

impl Reader {
    pub(crate) fn new() -> (Self, Subscription) {
        let (queue, receiver) = mpsc::channel(READER_QUEUE);
        (Self { queue, missed: 0 }, Subscription(receiver))
    }

    /// False when nobody reads any more.
    fn offer(&mut self, event: &Event) -> bool {
        if self.missed > 0 && self.queue.try_send(Notice::Missed(self.missed)).is_ok() {
            self.missed = 0;
        }
        if self.missed > 0 || self.queue.try_send(Notice::Event(event.clone())).is_err() {
            self.missed += 1;
        }
        !self.queue.is_closed()
    }
}

/// The driver's end of a running operation.
#[derive(Debug)]
pub(crate) struct Waiter {
    stages: mpsc::Sender<Stage>,
    end: oneshot::Sender<Event>,
}

/// The caller's end.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) stages: mpsc::Receiver<Stage>,
    pub(crate) end: oneshot::Receiver<Event>,
}

impl Waiter {
    pub(crate) fn new() -> (Self, Ends) {
        let (stage_sender, stages) = mpsc::channel(STAGE_QUEUE);
        let (end_sender, end) = oneshot::channel();
        (Self { stages: stage_sender, end: end_sender }, Ends { stages, end })
    }
}

/// Who waits for what.
#[derive(Debug, Default)]
pub(crate) struct Audience {
    readers: Vec<Reader>,
    waiters: HashMap<OpId, Waiter>,
}

impl Audience {
    pub(crate) fn add_reader(&mut self, reader: Reader) {
        self.readers.push(reader);
    }

    pub(crate) fn add_waiter(&mut self, op: OpId, waiter: Waiter) {
        self.waiters.insert(op, waiter);
    }

    pub(crate) fn tell(&mut self, event: Event) {
        if let Event::Progress { op, stage } = event {
            if let Some(waiter) = self.waiters.get_mut(&op) {
                // A slow reader misses stages.
                let _ = waiter.stages.try_send(stage);
            }
        } else if let Some(op) = event.ends() {
            if let Some(waiter) = self.waiters.remove(&op) {
                // The caller may be gone.
                let _ = waiter.end.send(event);
            }
        } else {
            self.readers.retain_mut(|reader| reader.offer(&event));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use registry_core::PeerId;

    #[test]
    fn a_slow_reader_is_told_how_much_it_missed_and_where() {
        let mut audience = Audience::default();
        let (reader, mut subscription) = Reader::new();
        audience.add_reader(reader);
        let up = Event::PeerUp(PeerId::from_ed25519(&[1; 32]));
        for _ in 0..READER_QUEUE + 100 {
            audience.tell(up.clone());
        }
        let mut received = 0;
        for _ in 0..10 {
            assert_eq!(block_on(subscription.next()), Some(Notice::Event(up.clone())));
            received += 1;
        }
        audience.tell(Event::Ready);
        drop(audience);
        let rest: Vec<_> = block_on(subscription.collect());
        let missed: Vec<_> = rest.iter().filter(|notice| matches!(notice, Notice::Missed(_))).collect();
        received += rest.iter().filter(|notice| **notice == Notice::Event(up.clone())).count();
        assert_eq!(missed, [&Notice::Missed((READER_QUEUE + 100 - received) as u64)]);
        assert_eq!(rest.last(), Some(&Notice::Event(Event::Ready)));
    }

    #[test]
    fn a_reader_that_is_gone_is_forgotten() {
        let mut audience = Audience::default();
        let (reader, subscription) = Reader::new();
        audience.add_reader(reader);
        drop(subscription);
        audience.tell(Event::Ready);
        assert!(audience.readers.is_empty());
    }
}
