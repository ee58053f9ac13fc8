//! The loop around the core: one input, one call, all actions out, the timer set anew.
//!
//! Nothing is awaited while actions are drained. While the network's queue is full, or the workers have plenty to do, no
//! further input is taken from outside, which slows down the peers it would come from.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use registry_core::{Action, Command, CommandError, Input, Instant, Node, OpId};

use crate::calls::Calls;
use crate::crypto::{CryptoJob, CryptoThreads};
use crate::events::{Audience, Ends, Reader, Waiter};
use crate::net::{NetAction, NetLink};
use crate::runtime::{Clock, Runtime};
use crate::store::StoreThread;

/// Rounds per turn of the task; then others get theirs.
const BUDGET: usize = 64;
/// Store and crypto jobs under way, beyond which the network waits.
const MAX_JOBS: usize = 512;
/// The wall clock is compared this often with what the core has counted on.
const WALL_CHECK: Duration = Duration::from_secs(60);
/// A difference the core is told about.
const WALL_SLACK: Duration = Duration::from_secs(1);

/// Reads the node between two calls.
type Look = Box<dyn FnOnce(&Node, &Calls) + Send>;

/// What the handle asks of the loop.
pub(crate) enum Ask {
    /// Start an operation; it is cancelled when the asker is gone.
    Start(Command, oneshot::Sender<Result<(OpId, Ends), CommandError>>),
    /// Run a command that is done when it is accepted.
    Do(Command, oneshot::Sender<Result<(), CommandError>>),
    /// Look at the node.
    Look(Look),
    /// Send events to a reader.
    Subscribe(Reader),
    /// End.
    Stop,
}

/// The loop's own ends of everything.
pub(crate) struct Parts {
    pub(crate) node: Node,
    pub(crate) clock: Clock,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) link: NetLink,
    pub(crate) replies: mpsc::Receiver<Input>,
    pub(crate) store: StoreThread,
    pub(crate) crypto: CryptoThreads,
    pub(crate) asks: mpsc::Receiver<Ask>,
    pub(crate) cancels: mpsc::UnboundedReceiver<OpId>,
}

/// A future that ends when the node is told to stop, all handles are gone, or the swarm is.
pub(crate) struct Driver {
    parts: Parts,
    outgoing: VecDeque<NetAction>,
    audience: Audience,
    calls: Calls,
    jobs: usize,
    timer: Option<(Instant, BoxFuture<'static, ()>)>,
    /// Wall time minus monotonic time, as the core knows it; and when that was last compared.
    wall: (i128, Instant),
    stopped: bool,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Self {
        let wall = (wall_offset(parts.clock), parts.clock.now());
        Self {
            parts,
            outgoing: VecDeque::new(),
            audience: Audience::default(),
            calls: Calls::default(),
            jobs: 0,
            timer: None,
            wall,
            stopped: false,
        }
    }

    pub(crate) fn add_reader(&mut self, reader: Reader) {
        self.audience.add_reader(reader);
    }

    /// What must be closed when the loop has ended.
    pub(crate) fn into_workers(self) -> (StoreThread, CryptoThreads) {
        (self.parts.store, self.parts.crypto)
    }

    /// One round: at most one input from each source. False when nothing was ready.
    fn round(&mut self, cx: &mut Context<'_>) -> bool {
        let mut busy = self.flush(cx);
        busy |= self.expire();
        if let Poll::Ready(Some(input)) = self.parts.replies.poll_next_unpin(cx) {
            self.on_reply(input);
            busy = true;
        }
        if !self.outgoing.is_empty() {
            return busy;
        }
        if let Poll::Ready(Some(op)) = self.parts.cancels.poll_next_unpin(cx) {
            // It may have ended meanwhile.
            let _ = self.command(Command::Cancel(op));
            self.drain();
            busy = true;
        }
        match self.parts.asks.poll_next_unpin(cx) {
            Poll::Ready(Some(ask)) => {
                self.on_ask(ask);
                busy = true;
            }
            Poll::Ready(None) => self.stopped = true,
            Poll::Pending => {}
        }
        if self.jobs < MAX_JOBS
            && let Poll::Ready(Some(input)) = self.parts.link.inputs.poll_next_unpin(cx)
        {
            self.handle(input.into_input());
            busy = true;
        }
        busy
    }

    fn handle(&mut self, input: Input) {
        let now = self.parts.clock.now();
        self.calls.run(input.name(), || self.parts.node.handle_input(now, input));
        self.drain();
    }

    fn time_out(&mut self, now: Instant) {
        self.calls.run("timeout", || self.parts.node.handle_timeout(now));
        self.drain();
    }

    /// The caller drains.
    fn command(&mut self, command: Command) -> Result<OpId, CommandError> {
        let now = self.parts.clock.now();
        self.calls.run(command.name(), || self.parts.node.command(now, command))
    }

    fn on_reply(&mut self, input: Input) {
        match &input {
            Input::Recovered(_) | Input::RecoveryDone => {}
            _ => self.jobs = self.jobs.saturating_sub(1),
        }
        self.handle(input);
    }

    fn on_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Start(command, reply) => self.start(command, reply),
            Ask::Do(command, reply) => {
                let done = self.command(command).map(drop);
                // The asker may be gone.
                let _ = reply.send(done);
                self.drain();
            }
            Ask::Look(look) => {
                // A node that was idle for long does not know how late it is.
                self.time_out(self.parts.clock.now());
                look(&self.parts.node, &self.calls);
            }
            Ask::Subscribe(reader) => self.audience.add_reader(reader),
            Ask::Stop => self.stopped = true,
        }
    }

    fn start(&mut self, command: Command, reply: oneshot::Sender<Result<(OpId, Ends), CommandError>>) {
        let started = self.command(command);
        let op = started.as_ref().ok().copied();
        let started = started.map(|op| {
            let (waiter, ends) = Waiter::new();
            self.audience.add_waiter(op, waiter);
            (op, ends)
        });
        if let (Err(_), Some(op)) = (reply.send(started), op) {
            let _ = self.command(Command::Cancel(op));
        }
        self.drain();
    }

    /// Takes all actions out of the core, each to whoever carries it out.
    fn drain(&mut self) {
        while let Some(action) = self.parts.node.poll_action() {
            match action {
                Action::Emit(event) => self.audience.tell(event),
                Action::Store { op, request } => {
                    self.jobs += 1;
                    self.parts.store.submit(op, request);
                }
                Action::Verify { job, checks } => self.compute(CryptoJob::Verify { job, checks }),
                Action::Sign { job, key, bytes } => self.compute(CryptoJob::Sign { job, key, bytes }),
                Action::Hash { job, data } => self.compute(CryptoJob::Hash { job, data }),
                Action::Merge { job, parts } => self.compute(CryptoJob::Merge { job, parts }),
                Action::Dial { dial, peer, addrs } => self.outgoing.push_back(NetAction::Dial { dial, peer, addrs }),
                Action::Disconnect { peer, why: _ } => self.outgoing.push_back(NetAction::Disconnect(peer)),
                Action::Send { peer, msg, class } => self.outgoing.push_back(NetAction::Send { peer, msg, class }),
                Action::Request { id, peer, msg } => self.outgoing.push_back(NetAction::Request { id, peer, msg }),
                Action::Respond { token, msg } => self.outgoing.push_back(NetAction::Respond { token, msg }),
                Action::SetServerMode(server) => self.outgoing.push_back(NetAction::SetServerMode(server)),
            }
        }
    }

    fn compute(&mut self, job: CryptoJob) {
        self.jobs += 1;
        self.parts.crypto.submit(job);
    }

    /// Moves actions to the behaviour's queue while it has room.
    fn flush(&mut self, cx: &mut Context<'_>) -> bool {
        let mut busy = false;
        while !self.outgoing.is_empty() {
            match self.parts.link.actions.poll_ready(cx) {
                Poll::Ready(Ok(())) => {
                    if let Some(action) = self.outgoing.pop_front() {
                        let _ = self.parts.link.actions.start_send(action);
                        busy = true;
                    }
                }
                Poll::Ready(Err(_)) => {
                    self.stopped = true;
                    self.outgoing.clear();
                }
                Poll::Pending => break,
            }
        }
        busy
    }

    /// Calls the core when its time has come, by the clock and not by the timer, which may be late.
    fn expire(&mut self) -> bool {
        let now = self.parts.clock.now();
        let due = self.parts.node.poll_timeout().is_some_and(|wake| wake.at <= now);
        if due {
            self.check_wall(now);
            self.time_out(now);
        }
        due
    }

    fn check_wall(&mut self, now: Instant) {
        if now.since(self.wall.1) < WALL_CHECK {
            return;
        }
        let offset = wall_offset(self.parts.clock);
        if (offset - self.wall.0).unsigned_abs() > WALL_SLACK.as_micros() {
            self.handle(Input::WallClock(self.parts.clock.unix()));
            self.wall.0 = offset;
        }
        self.wall.1 = now;
    }

    /// Sets the timer when the core's next deadline has changed. True when it has run off.
    fn arm(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(wake) = self.parts.node.poll_timeout() else {
            self.timer = None;
            return false;
        };
        let timer = match &mut self.timer {
            Some((at, timer)) if *at == wake.at => timer,
            slot => {
                let sleep = self.parts.runtime.sleep(wake.at.since(self.parts.clock.now()));
                &mut slot.insert((wake.at, sleep)).1
            }
        };
        let over = timer.poll_unpin(cx).is_ready();
        if over {
            self.timer = None;
        }
        over
    }
}

impl Future for &mut Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver: &mut Driver = self.get_mut();
        for _ in 0..BUDGET {
            let busy = driver.round(cx);
            if driver.stopped {
                return Poll::Ready(());
            }
            if !busy && !driver.arm(cx) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn wall_offset(clock: Clock) -> i128 {
    i128::from(clock.unix().as_micros()) - i128::from(clock.now().as_micros())
}
