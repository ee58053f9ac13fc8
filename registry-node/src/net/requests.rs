//! Requests to one peer over one connection: one at a time per stream, streams reused, so that answers match by order.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::{AbortHandle, AbortRegistration};
use libp2p_swarm::Stream;
use registry_core::Message;
use registry_core::id::RequestId;
use registry_core::input::RequestError;

use super::frame::{Framed, ReadError};

/// Streams at once for one protocol: py-libp2p serves twelve and resets the rest.
const MAX_STREAMS: usize = 8;
/// Unused streams kept for the next requests.
const MAX_IDLE: usize = 4;
/// An unused stream is not trusted for longer; peers close theirs after a minute.
const IDLE_LIFE: Duration = Duration::from_secs(30);
/// Requests waiting for a stream.
const MAX_WAITING: usize = 64;
/// A request that has no answer by then has none, whatever the core's own deadline is.
const REQUEST_TIME: Duration = Duration::from_secs(30);

/// A request on its way.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: RequestId,
    frame: Bytes,
    expires: Instant,
    retried: bool,
}

/// A stream for requests.
#[derive(Debug)]
pub(super) struct Line {
    stream: Framed<Stream>,
    /// When its last answer came; `None` for a stream that has served nothing yet.
    used: Option<Instant>,
}

impl Line {
    pub(super) fn new(stream: Framed<Stream>) -> Self {
        Self { stream, used: None }
    }
}

/// What is to be done next for a protocol's requests.
#[derive(Debug)]
pub(super) enum Step {
    /// Run [`exchange`] until it is aborted.
    Start(Pending, Box<Line>, AbortRegistration),
    /// Open a stream.
    Open,
    /// This request is over.
    Fail(RequestId, RequestError),
}

/// A response and the length of its frame, or why there is none.
pub(super) type Answer = Result<(Message, usize), RequestError>;

/// What came of a request.
#[derive(Debug)]
pub(super) struct Exchanged {
    pending: Pending,
    line: Box<Line>,
    result: Answer,
}

/// The requests of one protocol.
#[derive(Debug, Default)]
pub(super) struct Requests {
    waiting: VecDeque<Pending>,
    idle: Vec<Line>,
    opening: usize,
    /// Under way, until when.
    busy: BTreeMap<RequestId, (Instant, AbortHandle)>,
}

impl Requests {
    /// # Errors
    /// `Overloaded` when too many requests wait.
    pub(super) fn push(&mut self, id: RequestId, frame: Bytes) -> Result<(), RequestError> {
        if self.waiting.len() >= MAX_WAITING {
            return Err(RequestError::Overloaded);
        }
        self.waiting.push_back(Pending { id, frame, expires: Instant::now() + REQUEST_TIME, retried: false });
        Ok(())
    }

    /// Call until `None` after every change.
    pub(super) fn step(&mut self) -> Option<Step> {
        let now = Instant::now();
        if self.waiting.front()?.expires <= now {
            return self.waiting.pop_front().map(|late| Step::Fail(late.id, RequestError::Timeout));
        }
        self.idle.retain(|line| line.used.is_none_or(|used| now - used < IDLE_LIFE));
        if let Some(line) = self.idle.pop() {
            let pending = self.waiting.pop_front()?;
            let (abort, aborted) = AbortHandle::new_pair();
            self.busy.insert(pending.id, (pending.expires, abort));
            return Some(Step::Start(pending, Box::new(line), aborted));
        }
        let wanted = self.opening < self.waiting.len() && self.opening + self.busy.len() < MAX_STREAMS;
        wanted.then(|| {
            self.opening += 1;
            Step::Open
        })
    }

    pub(super) fn opened(&mut self, line: Line) {
        self.opening = self.opening.saturating_sub(1);
        self.keep(line);
    }

    /// A stream could not be opened. Gives the requests that have failed with it.
    pub(super) fn open_failed(&mut self, why: RequestError) -> Vec<RequestId> {
        self.opening = self.opening.saturating_sub(1);
        let failed = if why == RequestError::Unsupported { self.waiting.len() } else { self.waiting.len().min(1) };
        self.waiting.drain(..failed).map(|pending| pending.id).collect()
    }

    /// The answer of a finished exchange, or `None` when the request is tried once more on a fresh stream: peers close
    /// streams that they have served without telling.
    pub(super) fn exchanged(&mut self, done: Exchanged) -> Option<(RequestId, Answer)> {
        let Exchanged { pending, mut line, result } = done;
        self.busy.remove(&pending.id);
        match result {
            Ok(_) => {
                line.used = Some(Instant::now());
                self.keep(*line);
            }
            Err(RequestError::Reset) if line.used.is_some() && !pending.retried => {
                self.idle.clear();
                self.waiting.push_front(Pending { retried: true, ..pending });
                return None;
            }
            Err(_) => {}
        }
        Some((pending.id, result))
    }

    /// The answer of an aborted exchange.
    pub(super) fn aborted(&mut self, id: RequestId) -> (RequestId, Answer) {
        self.busy.remove(&id);
        (id, Err(RequestError::Timeout))
    }

    /// Does any request run or wait?
    pub(super) fn is_busy(&self) -> bool {
        !self.busy.is_empty() || !self.waiting.is_empty()
    }

    /// Aborts what has taken too long. Call `step` then, for what has waited too long.
    pub(super) fn expire(&self, now: Instant) {
        self.busy.values().filter(|(expires, _)| *expires <= now).for_each(|(_, exchange)| exchange.abort());
    }

    fn keep(&mut self, line: Line) {
        if self.idle.len() < MAX_IDLE {
            self.idle.push(line);
        }
    }
}

/// Writes a request and reads its answer.
pub(super) async fn exchange(pending: Pending, mut line: Box<Line>) -> Exchanged {
    let result = talk(&mut line.stream, &pending.frame).await;
    Exchanged { pending, line, result }
}

async fn talk(stream: &mut Framed<Stream>, frame: &[u8]) -> Answer {
    if !stream.write(frame).await {
        return Err(RequestError::Reset);
    }
    match stream.read().await {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) | Err(ReadError::Reset) => Err(RequestError::Reset),
        Err(ReadError::Wire(_)) => Err(RequestError::Malformed),
    }
}
