//! The engine: virtual nodes, virtual time, and the events between them.

mod act;
mod conditions;
mod host;
mod hostile;
mod impose;
mod life;
mod links;
mod transmit;
mod wake;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use registry_core::action::{Action, Write};
use registry_core::command::{Command, CommandError};
use registry_core::event::Event;
use registry_core::id::{OpId, RequestId, Token};
use registry_core::input::{Input, RequestError};
use registry_core::search::Segment;
use registry_core::{Config, Digest, Instant, Message, Node, PeerId, Protocol, UnixTime, WireError};

use crate::adversary::Mind;
use crate::checks::Check;
use crate::crypto::Verifier;
use crate::fault::Fired;
use crate::mix::{Keyed, LookupTable};
use crate::net::Net;
use crate::queue::{Class, Key, Queue, QueueKind};
use crate::scenario::Scenario;
use crate::trace::{Recorded, Trace};

pub use act::Traffic;
use conditions::{Conditions, Due, Pace};
pub use host::Down;
use host::Host;
pub(crate) use host::publisher;

/// A node's number: its place in the engine's table.
pub type NodeIx = u32;

/// The engine itself as the cause of an event.
const ENGINE: u32 = u32::MAX;
/// Whoever sets timers as the cause of what they lead to.
const SCRIPT: u32 = ENGINE - 1;
/// The wall clock at the start of every run: 2026-01-01.
pub(crate) const EPOCH: UnixTime = UnixTime::from_secs(1_767_225_600);
/// The shell gives up on a request after this, in microseconds.
const REQUEST_TIMEOUT: u64 = 30_000_000;

/// What waits in the queue.
#[derive(Clone, Debug)]
enum Payload {
    Timer(u64),
    Boot,
    Wake,
    Input {
        life: u32,
        input: Box<Input>,
    },
    StoreReady {
        life: u32,
    },
    Dial(links::Dial),
    Established {
        conn: u64,
    },
    Identify {
        conn: u64,
    },
    Hangup {
        conn: u64,
    },
    OneWay {
        conn: u64,
        msg: Message,
    },
    /// Without an id: a one-way message on a stream of its own.
    Ask {
        conn: u64,
        id: Option<RequestId>,
        msg: Message,
    },
    Answer {
        conn: u64,
        id: RequestId,
        result: Result<Message, RequestError>,
    },
    /// A one-way message or a request, damaged.
    Malformed {
        conn: u64,
        id: Option<RequestId>,
        what: (Protocol, WireError),
    },
    /// A slow node gets to what it has to do.
    Work {
        life: u32,
    },
    /// A flapping fault comes or goes.
    Turn {
        id: u32,
    },
    /// A connection over which nothing arrives is given up.
    GiveUp {
        conn: u64,
        id: u32,
        turn: u32,
    },
    CheckWall,
    /// A hostile node does something late.
    Act {
        life: u32,
        action: Box<Action>,
    },
}

/// What `step` did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A timer of the workload is due.
    Timer(u64),
    /// Something happened at a node.
    Node(NodeIx),
    /// Nothing that anybody sees.
    Nothing,
}

/// A request the shell still waits for.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    at: u64,
    node: NodeIx,
    life: u32,
    id: RequestId,
}

/// How a run is carried out: nothing here changes what happens in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Round-trips every message through its codec.
    pub wire: bool,
    /// Calls `handle_timeout` when nothing is due.
    pub spurious: bool,
    /// What events wait in.
    pub queue: QueueKind,
    /// What the engine's hash tables are keyed with.
    pub hasher_key: u64,
}

impl Options {
    /// All in another way than usual.
    pub fn unusual(hasher_key: u64) -> Self {
        Self { wire: true, spurious: true, queue: QueueKind::Heap, hasher_key }
    }
}

/// What a node does instead of one of its actions.
pub type ReplaceAction = dyn FnMut(NodeIx, Action) -> Vec<Action>;

/// Faults planted on purpose, to see that a check finds them.
#[derive(Default)]
pub struct Planted {
    /// Replaces a node's action by others.
    pub action: Option<Box<ReplaceAction>>,
    /// The next timeout of this node does not reach it.
    pub deaf: Option<NodeIx>,
    /// This node's frames are longer than any protocol allows.
    pub bloated: Option<NodeIx>,
    /// What nodes run with instead of the scenario's configuration, which the checkers go by.
    pub config: Option<Arc<Config>>,
    /// The bug in every node.
    #[cfg(feature = "canary")]
    pub canary: Option<registry_core::Canary>,
}

/// The checksum of each part of a merge, and which of its documents are left out.
type MergeInput = Vec<([u8; 8], Vec<u32>)>;

/// A network of virtual nodes.
pub struct World {
    seed: u64,
    options: Options,
    config: Arc<Config>,
    light_config: Arc<Config>,
    net: Net,
    now: u64,
    last: Key,
    seq: u64,
    queue: Box<dyn Queue<Payload>>,
    /// Told to nodes before the step ends: the consequences of a broken connection.
    at_once: VecDeque<(NodeIx, Input)>,
    hosts: Vec<Host>,
    by_peer: LookupTable<u64, NodeIx>,
    peer_ids: Vec<PeerId>,
    waiting: VecDeque<Waiting>,
    next_conn: u64,
    conditions: Conditions,
    /// What hostile nodes are up to, and the faults that made them so.
    minds: BTreeMap<NodeIx, Vec<(u32, Mind)>>,
    verifier: Verifier,
    /// Results of merges: equal ones are one.
    merged: BTreeMap<MergeInput, Segment>,
    trace: Trace,
    scratch: Vec<u8>,
    encoded: Option<act::Encoded>,
    emitted: VecDeque<(NodeIx, Event)>,
    crashed: VecDeque<NodeIx>,
    planted: Planted,
    events: u64,
    traffic: Traffic,
    fired: Fired,
    spin: Check,
    frames: Check,
}

impl World {
    /// All nodes of a scenario, none of them started; those in `publishers` can publish.
    pub fn new(scenario: &Scenario, seed: u64, options: &Options, publishers: &[NodeIx]) -> Self {
        let hosts: Vec<Host> = (0..scenario.net.nodes)
            .map(|ix| Host::new(scenario, seed, options, ix, publishers.contains(&ix)))
            .collect();
        let mut by_peer = LookupTable::with_hasher(Keyed(options.hasher_key));
        by_peer.extend((0..).zip(&hosts).map(|(ix, host)| (short_id(&host.local.id), ix)));
        Self {
            seed,
            options: *options,
            config: Arc::new(scenario.configuration()),
            light_config: Arc::new(scenario.light_configuration()),
            net: Net::new(seed, scenario.net.rtt),
            now: 0,
            last: Key { at: 0, class: Class::Scenario, to: 0, from: ENGINE, seq: 0 },
            seq: 0,
            queue: options.queue.build(),
            at_once: VecDeque::new(),
            by_peer,
            peer_ids: hosts.iter().map(|host| host.local.id).collect(),
            hosts,
            waiting: VecDeque::new(),
            next_conn: 0,
            conditions: Conditions::new(seed, scenario.net.transport),
            verifier: Verifier::new(options.hasher_key),
            minds: BTreeMap::new(),
            merged: BTreeMap::new(),
            trace: Trace::default(),
            scratch: Vec::new(),
            encoded: None,
            emitted: VecDeque::new(),
            crashed: VecDeque::new(),
            planted: Planted::default(),
            events: 0,
            traffic: Traffic::default(),
            fired: Fired::default(),
            spin: Check::new("N2-spin", "after a timeout a node asks for a later one"),
            frames: Check::new("N1-frame", "no frame is longer than its protocol allows"),
        }
    }

    /// Microseconds since the start.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The event that happened last.
    pub fn last(&self) -> &Key {
        &self.last
    }

    /// Events so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Events that wait.
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// From now on keeps every event, or no longer.
    pub fn record(&mut self, on: bool) {
        self.trace.record(on);
    }

    /// The events kept since the last call.
    pub fn take_recorded(&mut self) -> Vec<Recorded> {
        self.trace.take_recorded()
    }

    /// The digest so far.
    pub fn digest(&self) -> u64 {
        self.trace.digest()
    }

    /// What was sent.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// What was injected.
    pub fn fired(&self) -> Fired {
        self.fired
    }

    /// The engine's own checks.
    pub fn checks(&self) -> [Check; 2] {
        [self.spin.clone(), self.frames.clone()]
    }

    /// Nodes, running or not.
    pub fn len(&self) -> NodeIx {
        self.hosts.len() as NodeIx
    }

    /// There is no node.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// A running node.
    pub fn node(&self, ix: NodeIx) -> Option<&Node> {
        self.hosts[ix as usize].node.as_deref()
    }

    /// What the scenario configures a node to, whatever is planted.
    pub fn configuration(&self, ix: NodeIx) -> &Config {
        if self.hosts[ix as usize].role == self.config.role { &self.config } else { &self.light_config }
    }

    /// What a node's monotonic clock shows.
    pub fn clock(&self, ix: NodeIx) -> Instant {
        self.hosts[ix as usize].clock.instant(self.now)
    }

    /// A node runs, but handles nothing for now.
    pub fn is_paused(&self, ix: NodeIx) -> bool {
        matches!(self.conditions.pace(ix), Pace::Paused | Pace::Asleep)
    }

    /// The host of a node: its identity, its disk, its connections.
    pub fn host(&self, ix: NodeIx) -> &Host {
        &self.hosts[ix as usize]
    }

    /// The node of a peer id.
    pub fn find(&self, peer: &PeerId) -> Option<NodeIx> {
        self.by_peer.get(&short_id(peer)).copied().filter(|ix| self.peer_ids[*ix as usize] == *peer)
    }

    /// Was some node this peer before?
    pub fn has_been(&self, peer: &PeerId) -> bool {
        // A short id leads on to its node when that has become another peer.
        self.by_peer.get(&short_id(peer)).is_some_and(|ix| self.hosts[*ix as usize].has_been(peer))
    }

    /// Puts a block on a node's disk, as a shell does before it asks for a publish.
    pub fn put_block(&mut self, ix: NodeIx, digest: Digest, data: Bytes) {
        self.hosts[ix as usize].disk.put(digest, data);
    }

    /// Puts rows on the disk of a node that was not started yet.
    pub fn preload(&mut self, ix: NodeIx, rows: &[Write]) {
        self.hosts[ix as usize].disk.write(rows);
    }

    /// Plants faults.
    pub fn plant(&mut self, planted: Planted) {
        #[cfg(feature = "canary")]
        for config in [&mut self.config, &mut self.light_config] {
            Arc::make_mut(config).canary = planted.canary;
        }
        self.planted = planted;
    }

    /// `step` will return this timer at its time. It is no event: what it leads to is, so that a timer that leads to nothing
    /// can be left out.
    pub fn schedule_timer(&mut self, at: u64, timer: u64) {
        let key = Key { at: at.max(self.now), class: Class::Scenario, to: 0, from: SCRIPT, seq: timer };
        self.queue.push(key, Payload::Timer(timer));
    }

    /// Starts a node that is not running, at a time.
    pub fn schedule_boot(&mut self, at: u64, ix: NodeIx) {
        self.schedule(at, Class::Scenario, ix, ENGINE, Payload::Boot);
    }

    /// Asks something of a running node.
    ///
    /// # Errors
    /// Whatever the node says; `NotReady` when it is not running, or paused.
    pub fn command(&mut self, ix: NodeIx, command: Command) -> Result<OpId, CommandError> {
        if self.is_paused(ix) { Err(CommandError::NotReady) } else { self.ask(ix, command) }
    }

    fn ask(&mut self, ix: NodeIx, command: Command) -> Result<OpId, CommandError> {
        let now = self.clock(ix);
        let node = self.hosts[ix as usize].node.as_mut().ok_or(CommandError::NotReady)?;
        let result = node.command(now, command);
        self.drain(ix);
        self.settle();
        result
    }

    /// What nodes have told their applications since the last call.
    pub fn take_emitted(&mut self) -> Option<(NodeIx, Event)> {
        self.emitted.pop_front()
    }

    /// Nodes that have ended without warning since the last call.
    pub fn take_crashed(&mut self) -> Option<NodeIx> {
        self.crashed.pop_front()
    }

    /// Takes the next event that is not later than `until`; `None` when there is none.
    pub fn step(&mut self, until: u64) -> Option<Step> {
        let next = self.queue.next_at();
        if let Some(waiting) = self.waiting.front().copied()
            && waiting.at <= until
            && next.is_none_or(|next| waiting.at <= next)
        {
            self.waiting.pop_front();
            return Some(self.expire(waiting));
        }
        next.filter(|next| *next <= until)?;
        let (key, payload) = self.queue.pop()?;
        assert!(key.at >= self.now, "an event lies in the past: {key:?} at {}", self.now);
        let step = self.happen(key, payload);
        self.settle();
        if self.options.spurious {
            self.spurious_timeout();
        }
        Some(step)
    }

    fn begin(&mut self, key: Key) {
        self.now = key.at;
        self.last = key;
        if key.from != SCRIPT {
            self.events += 1;
            self.trace.event(&key);
        }
    }

    fn happen(&mut self, key: Key, payload: Payload) -> Step {
        if matches!(payload, Payload::Wake) && !self.wake_is_due(key) {
            return Step::Nothing;
        }
        self.begin(key);
        let (to, from) = (key.to, key.from);
        match payload {
            Payload::Timer(timer) => return Step::Timer(timer),
            Payload::Boot => self.boot(to),
            Payload::Wake => self.wake(to),
            Payload::Input { life, input } => {
                if self.hosts[to as usize].life == life {
                    self.input(to, *input);
                }
            }
            Payload::StoreReady { life } => self.store_ready(to, life),
            Payload::Dial(dial) => self.dial_arrives(from, to, dial),
            Payload::Established { conn } => self.established(from, to, conn),
            Payload::Identify { conn } => self.identify(from, to, conn),
            Payload::Hangup { conn } => self.close_side(to, from, conn),
            Payload::OneWay { conn, msg } => self.one_way_arrives(from, to, conn, msg),
            Payload::Ask { conn, id, msg } => self.ask_arrives(from, to, conn, id, msg),
            Payload::Answer { conn, id, result } => self.answer_arrives(from, to, conn, id, result),
            Payload::Malformed { conn, id, what } => self.malformed_arrives(from, to, conn, id, what),
            Payload::Work { life } => self.work(to, life),
            Payload::Turn { id } => self.turn(id),
            Payload::GiveUp { conn, id, turn } => self.give_up(to, from, conn, id, turn),
            Payload::CheckWall => self.check_wall(to),
            Payload::Act { life, action } => {
                if self.hosts[to as usize].life == life {
                    self.act(to, *action);
                }
            }
        }
        Step::Node(to)
    }

    fn input(&mut self, ix: NodeIx, input: Input) {
        match self.conditions.pace(ix) {
            Pace::Usual => self.handle(ix, input),
            Pace::Slow(_) | Pace::Paused | Pace::Asleep => self.put_off(ix, Due::Input(input)),
        }
    }

    fn handle(&mut self, ix: NodeIx, input: Input) {
        if !self.hears(ix, &input) {
            return;
        }
        let now = self.clock(ix);
        if let Some(node) = &mut self.hosts[ix as usize].node {
            node.handle_input(now, input);
            self.drain(ix);
        }
    }

    /// Tells nodes what must be told before anything else happens.
    fn settle(&mut self) {
        while let Some((ix, input)) = self.at_once.pop_front() {
            self.input(ix, input);
        }
    }

    fn drain(&mut self, ix: NodeIx) {
        while let Some(action) = self.hosts[ix as usize].node.as_mut().and_then(|node| node.poll_action()) {
            match &mut self.planted.action {
                None => self.perform(ix, action),
                Some(plant) => plant(ix, action).into_iter().for_each(|action| self.perform(ix, action)),
            }
        }
        self.rearm(ix);
    }

    fn expire(&mut self, waiting: Waiting) -> Step {
        let host = &mut self.hosts[waiting.node as usize];
        if host.life != waiting.life || host.pending.remove(&waiting.id).is_none() {
            return Step::Nothing;
        }
        let (seq, node) = (waiting.id.0, waiting.node);
        self.begin(Key { at: waiting.at, class: Class::Local, to: node, from: node, seq });
        self.input(waiting.node, Input::RequestFailed { id: waiting.id, why: RequestError::Timeout });
        self.settle();
        Step::Node(waiting.node)
    }

    fn schedule(&mut self, at: u64, class: Class, to: NodeIx, from: u32, payload: Payload) {
        let counter = match self.hosts.get_mut(from as usize) {
            Some(host) => &mut host.seq,
            None => &mut self.seq,
        };
        *counter += 1;
        let key = Key { at: at.max(self.now), class, to, from, seq: *counter };
        self.queue.push(key, payload);
    }

    /// An input that only this life of the node will see.
    fn schedule_input(&mut self, at: u64, ix: NodeIx, input: Input) {
        let life = self.hosts[ix as usize].life;
        self.schedule(at, Class::Local, ix, ix, Payload::Input { life, input: Box::new(input) });
    }

    fn next_token(&mut self, ix: NodeIx) -> Token {
        let host = &mut self.hosts[ix as usize];
        host.next_token += 1;
        Token(host.next_token)
    }
}

/// The end of a peer id: part of a random key.
pub(crate) fn short_id(peer: &PeerId) -> u64 {
    peer.as_bytes().last_chunk().map_or(0, |end| u64::from_le_bytes(*end))
}
