//! The long-lived outbound stream of a one-way protocol, and the bounded queue in front of it.

use std::collections::VecDeque;

use bytes::Bytes;
use libp2p_swarm::Stream;
use registry_core::action::SendClass;

use super::frame::Framed;

/// Bytes waiting for one peer on one protocol; holds two of the largest frames.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Messages waiting for one peer on one protocol.
const MAX_MESSAGES: usize = 2048;
/// Streams opened on one connection in its life: rust-libp2p refuses the fifth and never speaks gossip again.
const MAX_OPENED: u8 = 4;

/// From the one that is kept longest to the one that is dropped first.
const CLASSES: [SendClass; 5] =
    [SendClass::Control, SendClass::Own, SendClass::Forward, SendClass::Gossip, SendClass::Block];

/// Frames by class; the control class goes first, blocks last.
#[derive(Debug, Default)]
struct Queue {
    frames: [VecDeque<Bytes>; CLASSES.len()],
    bytes: usize,
    messages: usize,
}

impl Queue {
    fn push_back(&mut self, frame: Bytes, class: SendClass) {
        self.bytes += frame.len();
        self.messages += 1;
        self.frames[class as usize].push_back(frame);
    }

    fn push_front(&mut self, frame: Bytes, class: SendClass) {
        self.bytes += frame.len();
        self.messages += 1;
        self.frames[class as usize].push_front(frame);
    }

    fn pop(&mut self) -> Option<(Bytes, SendClass)> {
        let class = CLASSES.into_iter().find(|class| !self.frames[*class as usize].is_empty())?;
        let frame = self.frames[class as usize].pop_front()?;
        Some((self.took(frame), class))
    }

    /// Drops the newest frame of the least important class while there is too much.
    fn shed(&mut self) -> Option<SendClass> {
        if self.bytes <= MAX_BYTES && self.messages <= MAX_MESSAGES {
            return None;
        }
        self.drop_last()
    }

    fn drop_last(&mut self) -> Option<SendClass> {
        let class = CLASSES.into_iter().rev().find(|class| !self.frames[*class as usize].is_empty())?;
        let frame = self.frames[class as usize].pop_back()?;
        self.took(frame);
        Some(class)
    }

    fn took(&mut self, frame: Bytes) -> Bytes {
        self.bytes -= frame.len();
        self.messages -= 1;
        frame
    }
}

/// Where the outbound stream is.
#[derive(Debug, Default)]
enum Outlet {
    #[default]
    Closed,
    Opening,
    Idle(Box<Framed<Stream>>),
    Writing,
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Step {
    /// Run [`write`].
    Write(Writing),
    /// Open a stream.
    Open,
    /// A message will not be sent.
    Drop(SendClass),
}

/// A frame on its way.
#[derive(Debug)]
pub(super) struct Writing {
    stream: Box<Framed<Stream>>,
    frame: Bytes,
    class: SendClass,
}

/// What came of writing it.
#[derive(Debug)]
pub(super) struct Written {
    writing: Writing,
    ok: bool,
}

/// One protocol's way out.
#[derive(Debug, Default)]
pub(super) struct OneWay {
    queue: Queue,
    outlet: Outlet,
    opened: u8,
}

impl OneWay {
    pub(super) fn push(&mut self, frame: Bytes, class: SendClass) {
        self.queue.push_back(frame, class);
    }

    /// Call until `None` after every change.
    pub(super) fn step(&mut self) -> Option<Step> {
        if let Some(dropped) = self.queue.shed() {
            return Some(Step::Drop(dropped));
        }
        match std::mem::take(&mut self.outlet) {
            Outlet::Idle(stream) => match self.queue.pop() {
                Some((frame, class)) => {
                    self.outlet = Outlet::Writing;
                    Some(Step::Write(Writing { stream, frame, class }))
                }
                None => {
                    self.outlet = Outlet::Idle(stream);
                    None
                }
            },
            Outlet::Closed if self.queue.messages == 0 => None,
            Outlet::Closed if self.opened >= MAX_OPENED => self.queue.drop_last().map(Step::Drop),
            Outlet::Closed => {
                self.opened += 1;
                self.outlet = Outlet::Opening;
                Some(Step::Open)
            }
            busy @ (Outlet::Opening | Outlet::Writing) => {
                self.outlet = busy;
                None
            }
        }
    }

    pub(super) fn opened(&mut self, stream: Framed<Stream>) {
        self.outlet = Outlet::Idle(Box::new(stream));
    }

    pub(super) fn open_failed(&mut self) {
        self.outlet = Outlet::Closed;
    }

    /// The class of what has left. After a failure the frame goes first on the next stream.
    pub(super) fn written(&mut self, done: Written) -> Option<SendClass> {
        let Written { writing, ok } = done;
        if ok {
            self.outlet = Outlet::Idle(writing.stream);
            return Some(writing.class);
        }
        self.queue.push_front(writing.frame, writing.class);
        self.outlet = Outlet::Closed;
        None
    }
}

/// Writes one frame.
pub(super) async fn write(mut writing: Writing) -> Written {
    let ok = writing.stream.write(&writing.frame).await;
    Written { writing, ok }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: usize) -> Bytes {
        vec![0; len].into()
    }

    #[test]
    fn attack_58_a_slow_reader_loses_blocks_first_and_control_last() {
        let mut out = OneWay::default();
        assert!(matches!(
            {
                out.push(frame(1), SendClass::Control);
                out.step()
            },
            Some(Step::Open)
        ));
        let mut dropped = Vec::new();
        let mut push = |out: &mut OneWay, len, class| {
            out.push(frame(len), class);
            while let Some(step) = out.step() {
                match step {
                    Step::Drop(class) => dropped.push(class),
                    Step::Open | Step::Write(_) => panic!("the stream is still opening"),
                }
            }
        };
        for _ in 0..20 {
            push(&mut out, 1024 * 1024, SendClass::Block);
        }
        for _ in 0..3 * MAX_MESSAGES {
            push(&mut out, 100, SendClass::Forward);
        }
        for _ in 0..MAX_MESSAGES - 1 {
            push(&mut out, 10, SendClass::Control);
        }
        assert!(out.queue.bytes <= MAX_BYTES && out.queue.messages <= MAX_MESSAGES);
        assert_eq!(dropped.iter().filter(|class| **class == SendClass::Block).count(), 20);
        assert_eq!(dropped.iter().filter(|class| **class == SendClass::Forward).count(), 3 * MAX_MESSAGES);
        assert!(!dropped.contains(&SendClass::Control));
    }

    #[test]
    fn control_overtakes_data_and_each_class_keeps_its_order() {
        let mut queue = Queue::default();
        for (len, class) in [
            (1, SendClass::Block),
            (2, SendClass::Forward),
            (3, SendClass::Control),
            (4, SendClass::Control),
            (5, SendClass::Own),
        ] {
            queue.push_back(frame(len), class);
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(frame, _)| frame.len()).collect();
        assert_eq!(order, [3, 4, 5, 2, 1]);
        assert_eq!((queue.bytes, queue.messages), (0, 0));
    }

    #[test]
    fn a_stream_is_opened_four_times_at_most() {
        let mut out = OneWay::default();
        out.push(frame(1), SendClass::Own);
        for _ in 0..MAX_OPENED {
            assert!(matches!(out.step(), Some(Step::Open)));
            out.open_failed();
        }
        assert!(matches!(out.step(), Some(Step::Drop(SendClass::Own))));
        assert!(out.step().is_none());
    }
}
