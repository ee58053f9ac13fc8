//! The event queue, in two ways that must not differ in anything but speed.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};

/// Microseconds of one window: some tens of events of a thousand nodes.
const WINDOW: u64 = 1 << 11;

/// What an event is, in the order in which events of one microsecond happen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Class {
    /// The scenario acts: a timer of the workload, a start, a crash.
    Scenario,
    /// Something arrives from another node.
    Network,
    /// Something local is done: a write, a signature.
    Local,
    /// A node's timeout.
    Wake,
}

/// The place of an event in the run: independent of when it was scheduled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Key {
    /// Microseconds since the start of the run.
    pub at: u64,
    /// What it is.
    pub class: Class,
    /// Where it happens.
    pub to: u32,
    /// Who caused it.
    pub from: u32,
    /// Counts what `from` has caused.
    pub seq: u64,
}

/// Events in the order of their keys.
pub trait Queue<T> {
    /// Adds an event.
    fn push(&mut self, key: Key, event: T);

    /// When the next event happens.
    fn next_at(&self) -> Option<u64>;

    /// Takes the next event.
    fn pop(&mut self) -> Option<(Key, T)>;

    /// Events that wait.
    fn waiting(&self) -> usize;
}

/// Which of the queues a run uses: the order of events is the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum QueueKind {
    /// The events of the next moments in a heap, the others by windows of time.
    #[default]
    Windows,
    /// All events in one heap.
    Heap,
}

impl QueueKind {
    /// An empty queue.
    pub fn build<T: 'static>(self) -> Box<dyn Queue<T>> {
        match self {
            Self::Windows => Box::new(Windows::default()),
            Self::Heap => Box::new(Heap::default()),
        }
    }

    /// As the command line calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Windows => "windows",
            Self::Heap => "heap",
        }
    }
}

/// Keys beside a slab of events. Only the keys of the next events lie in a binary heap, so that it stays in the processor's
/// cache; later ones wait unsorted, by window of time.
#[derive(Debug)]
struct Windows<T> {
    /// Events up to the end of `window`; not empty unless the queue is.
    heap: BinaryHeap<Reverse<(Key, u32)>>,
    window: u64,
    later: BTreeMap<u64, Vec<Reverse<(Key, u32)>>>,
    slab: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Windows<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), window: 0, later: BTreeMap::new(), slab: Vec::new(), free: Vec::new() }
    }
}

impl<T> Queue<T> for Windows<T> {
    fn push(&mut self, key: Key, event: T) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slab[slot as usize] = Some(event);
                slot
            }
            None => {
                self.slab.push(Some(event));
                u32::try_from(self.slab.len() - 1).expect("fewer than 2^32 pending events")
            }
        };
        let window = key.at / WINDOW;
        if self.heap.is_empty() {
            self.window = window;
        }
        if window <= self.window {
            self.heap.push(Reverse((key, slot)));
        } else {
            self.later.entry(window).or_default().push(Reverse((key, slot)));
        }
    }

    fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((key, _))| key.at)
    }

    fn pop(&mut self) -> Option<(Key, T)> {
        let Reverse((key, slot)) = self.heap.pop()?;
        if self.heap.is_empty()
            && let Some((window, keys)) = self.later.pop_first()
        {
            self.window = window;
            self.heap = keys.into();
        }
        self.free.push(slot);
        let event = self.slab[slot as usize].take().expect("a queued key owns its slot");
        Some((key, event))
    }

    fn waiting(&self) -> usize {
        self.slab.len() - self.free.len()
    }
}

/// Whole events in a binary heap: what the other queue is compared with.
#[derive(Debug)]
struct Heap<T>(BinaryHeap<Reverse<Queued<T>>>);

#[derive(Debug)]
struct Queued<T>(Key, T);

impl<T> PartialEq for Queued<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Queued<T> {}

impl<T> PartialOrd for Queued<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Queued<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl<T> Default for Heap<T> {
    fn default() -> Self {
        Self(BinaryHeap::new())
    }
}

impl<T> Queue<T> for Heap<T> {
    fn push(&mut self, key: Key, event: T) {
        self.0.push(Reverse(Queued(key, event)));
    }

    fn next_at(&self) -> Option<u64> {
        self.0.peek().map(|Reverse(Queued(key, _))| key.at)
    }

    fn pop(&mut self) -> Option<(Key, T)> {
        self.0.pop().map(|Reverse(Queued(key, event))| (key, event))
    }

    fn waiting(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_by_key_whatever_the_order_of_insertion() {
        let key = |at, class, to, from, seq| Key { at, class, to, from, seq };
        let sorted = [
            key(1, Class::Wake, 9, 9, 0),
            key(2, Class::Scenario, 3, 0, 7),
            key(2, Class::Network, 1, 5, 2),
            key(2, Class::Network, 2, 1, 1),
            key(2, Class::Network, 2, 1, 2),
            key(2, Class::Network, 2, 4, 0),
            key(WINDOW, Class::Network, 0, 0, 0),
            key(9 * WINDOW + 1, Class::Wake, 0, 0, 0),
            key(9 * WINDOW + 2, Class::Network, 0, 0, 0),
        ];
        let kinds = [QueueKind::Windows, QueueKind::Heap];
        for (rotation, kind) in (0..sorted.len()).flat_map(|rotation| kinds.map(|kind| (rotation, kind))) {
            let mut queue = kind.build();
            for at in 0..sorted.len() {
                let key = sorted[(at + rotation) % sorted.len()];
                queue.push(key, key.seq);
            }
            assert_eq!(queue.waiting(), sorted.len());
            let popped: Vec<Key> = std::iter::from_fn(|| queue.pop()).map(|(key, _)| key).collect();
            assert_eq!(popped, sorted);
            assert_eq!((queue.next_at(), queue.waiting()), (None, 0));
        }
    }
}
