//! The long-lived outbound stream of a one-way protocol, and the bounded queue in front of it.

use std::collections::VecDeque;

use bytes::Bytes;
use libp2p_swarm::Stream;
use registry_core::action::SendClass;
use registry_core::input::RequestError;

use super::frame::Framed;

/// Bytes waiting for one peer on one protocol; holds two of the largest frames.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Messages waiting for one peer on one protocol.
const MAX_MESSAGES: usize = 2048;
/// Bytes of several frames in one write: what yamux sends as one of its own.
const MAX_WRITE: usize = 16 * 1024;
/// Streams opened on one connection in its life: rust-libp2p refuses the fifth and never speaks gossip again. Then the
/// connection has to end, so that the next one may begin anew.
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

    fn next(&self) -> Option<&Bytes> {
        CLASSES.into_iter().find_map(|class| self.frames[class as usize].front())
    }

    fn pop(&mut self) -> Option<(Bytes, SendClass)> {
        let class = CLASSES.into_iter().find(|class| !self.frames[*class as usize].is_empty())?;
        let frame = self.frames[class as usize].pop_front()?;
        Some((self.took(frame), class))
    }

    /// The next frame, and those after it that fit so many bytes together with it.
    fn take(&mut self, limit: usize) -> Vec<(Bytes, SendClass)> {
        let mut frames: Vec<_> = self.pop().into_iter().collect();
        let mut bytes: usize = frames.iter().map(|(frame, _)| frame.len()).sum();
        while self.next().is_some_and(|frame| bytes + frame.len() <= limit)
            && let Some((frame, class)) = self.pop()
        {
            bytes += frame.len();
            frames.push((frame, class));
        }
        frames
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
    /// There will be no further stream.
    Spent,
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Step {
    /// Open a stream.
    Open,
    /// A message will not be sent.
    Drop(SendClass),
    /// Close the connection: no more can be sent on it.
    Close,
}

/// Frames on their way.
#[derive(Debug)]
pub(super) struct Writing {
    stream: Box<Framed<Stream>>,
    frames: Vec<(Bytes, SendClass)>,
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
            Outlet::Closed if self.queue.messages == 0 => None,
            Outlet::Closed if self.opened >= MAX_OPENED => {
                self.outlet = Outlet::Spent;
                Some(Step::Close)
            }
            Outlet::Spent => {
                self.outlet = Outlet::Spent;
                self.queue.drop_last().map(Step::Drop)
            }
            Outlet::Closed => {
                self.opened += 1;
                self.outlet = Outlet::Opening;
                Some(Step::Open)
            }
            ready @ (Outlet::Opening | Outlet::Idle(_) | Outlet::Writing) => {
                self.outlet = ready;
                None
            }
        }
    }

    /// What to [`write`] next, when nothing is being written.
    pub(super) fn start(&mut self) -> Option<Writing> {
        if self.queue.messages == 0 {
            return None;
        }
        match std::mem::replace(&mut self.outlet, Outlet::Writing) {
            Outlet::Idle(stream) => Some(Writing { stream, frames: self.queue.take(MAX_WRITE) }),
            other => {
                self.outlet = other;
                None
            }
        }
    }

    pub(super) fn opened(&mut self, stream: Framed<Stream>) {
        self.outlet = Outlet::Idle(Box::new(stream));
    }

    /// A peer that does not speak the protocol keeps its connection: it is there for others.
    pub(super) fn open_failed(&mut self, why: RequestError) {
        let is_refused = why == RequestError::Unsupported && self.opened >= MAX_OPENED;
        self.outlet = if is_refused { Outlet::Spent } else { Outlet::Closed };
    }

    /// How many blocks have left. After a failure the frames go first on the next stream.
    pub(super) fn written(&mut self, done: Written) -> usize {
        let Written { writing, ok } = done;
        if ok {
            self.outlet = Outlet::Idle(writing.stream);
            return writing.frames.iter().filter(|(_, class)| *class == SendClass::Block).count();
        }
        writing.frames.into_iter().rev().for_each(|(frame, class)| self.queue.push_front(frame, class));
        self.outlet = Outlet::Closed;
        0
    }
}

/// Writes the frames as one: each write costs a packet and its encryption.
pub(super) async fn write(mut writing: Writing) -> Written {
    let ok = match &writing.frames[..] {
        [(frame, _)] => writing.stream.write(frame).await,
        frames => {
            let bytes: Vec<&[u8]> = frames.iter().map(|(frame, _)| &frame[..]).collect();
            writing.stream.write(&bytes.concat()).await
        }
    };
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
                    Step::Open | Step::Close => panic!("the stream is still opening"),
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
    fn small_frames_are_taken_together_and_a_large_one_alone() {
        let mut queue = Queue::default();
        for len in [MAX_WRITE - 2, 1, 1, 1, 2 * MAX_WRITE, 1] {
            queue.push_back(frame(len), SendClass::Forward);
        }
        let mut take = || queue.take(MAX_WRITE).iter().map(|(frame, _)| frame.len()).collect::<Vec<_>>();
        assert_eq!(take(), [MAX_WRITE - 2, 1, 1]);
        assert_eq!(take(), [1]);
        assert_eq!(take(), [2 * MAX_WRITE]);
        assert_eq!(take(), [1]);
        assert!(take().is_empty());
    }

    #[test]
    fn a_stream_is_opened_four_times_then_the_connection_is_closed_unless_the_protocol_is_refused() {
        for (why, closes) in [(RequestError::Reset, true), (RequestError::Unsupported, false)] {
            let mut out = OneWay::default();
            out.push(frame(1), SendClass::Own);
            for _ in 0..MAX_OPENED {
                assert!(matches!(out.step(), Some(Step::Open)));
                out.open_failed(why);
            }
            assert!(!closes || matches!(out.step(), Some(Step::Close)));
            for _ in 0..2 {
                assert!(matches!(out.step(), Some(Step::Drop(SendClass::Own))));
                assert!(out.step().is_none());
                out.push(frame(1), SendClass::Own);
            }
        }
    }
}
