//! One connection's streams.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::{AbortHandle, Abortable, BoxFuture, abortable};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use futures_timer::Delay;
use libp2p_swarm::handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p_swarm::{ConnectionHandler, ConnectionHandlerEvent, Stream, StreamUpgradeError, SubstreamProtocol};
use registry_core::action::SendClass;
use registry_core::id::{RequestId, Token};
use registry_core::input::RequestError;
use registry_core::{Input, Message, PeerId, Protocol};

use super::NetInput;
use super::credit::{Allowance, Credit};
use super::frame::{Framed, ReadError, encode};
use super::oneway::{self, OneWay};
use super::protocols::{Names, Offer};
use super::requests::{self, Line, Requests, exchange};

/// The others are one-way.
const REQUEST_PROTOCOLS: [Protocol; 2] = [Protocol::Kad, Protocol::Registry];

/// Inbound streams of one protocol. The one that has been silent longest makes room for a new one.
const fn max_inbound(protocol: Protocol) -> usize {
    match protocol {
        // As many as js-libp2p serves.
        Protocol::Kad => 32,
        // Each may hold a frame of 1 MiB.
        Protocol::Registry => 8,
        // js- and py-libp2p replace theirs, and what is left in the old one still counts.
        Protocol::Gossip | Protocol::Bitswap => 4,
    }
}

/// A request stream on which no message has come for so long is closed.
const REQUEST_IDLE: Duration = Duration::from_secs(60);
/// How often a connection looks for requests and request streams whose time is over. A timer for each would cost more
/// than the request.
const TICK: Duration = Duration::from_secs(5);
/// DHT notices on their way at once.
const MAX_NOTICES: usize = 32;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) names: Names,
    next_token: AtomicU64,
    allowance: Allowance,
}

impl Shared {
    pub(super) fn new(names: Names) -> Self {
        Self { names, next_token: AtomicU64::new(0), allowance: Allowance::default() }
    }
}

/// What the behaviour tells a connection.
#[derive(Debug)]
pub enum FromBehaviour {
    /// Send a one-way message.
    Send {
        /// What.
        msg: Message,
        /// What to drop first.
        class: SendClass,
    },
    /// Send a request.
    Request {
        /// Comes back in the answer.
        id: RequestId,
        /// What to ask.
        msg: Message,
    },
    /// Answer a request.
    Respond {
        /// Of the request.
        token: Token,
        /// The answer.
        msg: Option<Message>,
    },
    /// Offer the DHT protocol, or no longer.
    SetServerMode(bool),
}

/// What a connection tells the behaviour.
#[derive(Debug)]
pub enum ToBehaviour {
    /// For the node.
    Input(NetInput),
    /// No more can be sent on this connection.
    Close,
}

/// Why a stream was opened.
#[derive(Debug)]
pub enum Purpose {
    /// For requests.
    Request(Protocol),
    /// For the messages of a one-way protocol.
    OneWay(Protocol),
    /// For one DHT message without an answer.
    Notice(Bytes, SendClass),
}

type Read = Result<Option<(Message, usize)>, ReadError>;

/// The end of one piece of work on a stream.
#[derive(Debug)]
enum Done {
    Read { slot: u64, stream: Framed<Stream>, result: Read },
    Evicted { slot: u64, protocol: Protocol },
    Responded { stream: Framed<Stream>, ok: bool },
    Exchanged(Protocol, requests::Exchanged),
    Aborted(Protocol, RequestId),
    Written(Protocol, oneway::Written),
    Noticed { class: SendClass, ok: bool },
    Closed,
}

/// The inbound streams of one protocol.
#[derive(Debug, Default)]
struct Inbound {
    /// All of them, whatever they are doing.
    open: usize,
    /// Those that are being read from, since when, longest first.
    reading: BTreeMap<u64, (Instant, AbortHandle)>,
}

/// See [`ConnectionHandler`]. What it holds per protocol is indexed by the protocol's number. It keeps its connection: the core decides when to disconnect.
#[derive(Debug)]
pub struct Handler {
    peer: PeerId,
    shared: Arc<Shared>,
    server: bool,
    credit: Credit,
    allowance: Allowance,
    events: VecDeque<ToBehaviour>,
    opens: VecDeque<(Protocol, Purpose)>,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    next_slot: u64,
    inbound: [Inbound; 4],
    /// Streams that are not read from until there is credit again.
    parked: Vec<Framed<Stream>>,
    /// Streams whose request the core is working on.
    asked: HashMap<Token, Framed<Stream>>,
    requests: [Requests; 4],
    one_way: [OneWay; 4],
    notices: usize,
    tick: Option<Delay>,
}

impl Handler {
    pub(super) fn new(peer: PeerId, shared: Arc<Shared>, server: bool) -> Self {
        Self {
            peer,
            allowance: shared.allowance.of_connection(),
            shared,
            server,
            credit: Credit::default(),
            events: VecDeque::new(),
            opens: VecDeque::new(),
            work: FuturesUnordered::new(),
            next_slot: 0,
            inbound: Default::default(),
            parked: Vec::new(),
            asked: HashMap::new(),
            requests: Default::default(),
            one_way: Default::default(),
            notices: 0,
            tick: None,
        }
    }

    fn emit(&mut self, input: Input) {
        self.events.push_back(ToBehaviour::Input(NetInput::free(input)));
    }

    fn emit_message(&mut self, frame: usize, input: Input) {
        let permit = Some(self.credit.take(frame));
        self.events.push_back(ToBehaviour::Input(NetInput { input, permit }));
    }

    fn emit_malformed(&mut self, protocol: Protocol, error: registry_core::WireError) {
        self.emit_message(0, Input::Malformed { peer: self.peer, protocol, error });
    }

    fn send(&mut self, msg: &Message, class: SendClass) {
        let Some(frame) = encode(msg) else {
            return self.emit(Input::SendDropped { peer: self.peer, class });
        };
        match msg.protocol() {
            protocol @ (Protocol::Gossip | Protocol::Bitswap) => {
                self.one_way(protocol).push(frame, class);
                self.drive_one_way(protocol);
            }
            protocol @ (Protocol::Kad | Protocol::Registry) if self.notices < MAX_NOTICES => {
                self.notices += 1;
                self.opens.push_back((protocol, Purpose::Notice(frame, class)));
            }
            Protocol::Kad | Protocol::Registry => self.emit(Input::SendDropped { peer: self.peer, class }),
        }
    }

    fn request(&mut self, id: RequestId, msg: &Message) {
        let protocol = msg.protocol();
        let queued = match encode(msg) {
            Some(frame) => self.requests(protocol).push(id, frame),
            None => Err(RequestError::Malformed),
        };
        match queued {
            Ok(()) => self.drive_requests(protocol),
            Err(why) => self.emit(Input::RequestFailed { id, why }),
        }
    }

    fn respond(&mut self, token: Token, msg: Option<Message>) {
        let Some(mut stream) = self.asked.remove(&token) else { return };
        match msg.as_ref().and_then(encode) {
            Some(frame) => self.work.push(
                async move {
                    let ok = stream.write(&frame).await;
                    Done::Responded { stream, ok }
                }
                .boxed(),
            ),
            None => {
                self.inbound(stream.protocol()).open -= 1;
                self.work.push(stream.close().map(|()| Done::Closed).boxed());
            }
        }
    }

    fn inbound(&mut self, protocol: Protocol) -> &mut Inbound {
        &mut self.inbound[protocol as usize]
    }

    fn requests(&mut self, protocol: Protocol) -> &mut Requests {
        &mut self.requests[protocol as usize]
    }

    fn one_way(&mut self, protocol: Protocol) -> &mut OneWay {
        &mut self.one_way[protocol as usize]
    }

    fn drive_requests(&mut self, protocol: Protocol) {
        while let Some(step) = self.requests(protocol).step() {
            match step {
                requests::Step::Start(pending, line, aborted) => {
                    let id = pending.id;
                    let exchange = Abortable::new(exchange(pending, line), aborted);
                    let done = move |done| match done {
                        Ok(done) => Done::Exchanged(protocol, done),
                        Err(_) => Done::Aborted(protocol, id),
                    };
                    self.work.push(exchange.map(done).boxed());
                }
                requests::Step::Open => self.opens.push_back((protocol, Purpose::Request(protocol))),
                requests::Step::Fail(id, why) => self.emit(Input::RequestFailed { id, why }),
            }
        }
    }

    fn drive_one_way(&mut self, protocol: Protocol) {
        while let Some(step) = self.one_way(protocol).step() {
            match step {
                oneway::Step::Open => self.opens.push_back((protocol, Purpose::OneWay(protocol))),
                oneway::Step::Drop(class) => self.emit(Input::SendDropped { peer: self.peer, class }),
                oneway::Step::Close => self.events.push_back(ToBehaviour::Close),
            }
        }
    }

    /// Not before all that the behaviour has for this connection is here, so that it leaves together.
    fn start_writing(&mut self) {
        for protocol in [Protocol::Gossip, Protocol::Bitswap] {
            if let Some(writing) = self.one_way(protocol).start() {
                self.work.push(oneway::write(writing).map(move |done| Done::Written(protocol, done)).boxed());
            }
        }
    }

    fn accept(&mut self, stream: Framed<Stream>) {
        let protocol = stream.protocol();
        let inbound = self.inbound(protocol);
        if inbound.open >= max_inbound(protocol) {
            match inbound.reading.pop_first() {
                Some((_, (_, oldest))) => oldest.abort(),
                None => return,
            }
        }
        inbound.open += 1;
        self.listen(stream);
    }

    /// Waits for the next message on an inbound stream.
    fn listen(&mut self, mut stream: Framed<Stream>) {
        let protocol = stream.protocol();
        let slot = self.next_slot;
        self.next_slot += 1;
        let (read, abort) = abortable(async move {
            let result = stream.read().await;
            Done::Read { slot, stream, result }
        });
        self.inbound(protocol).reading.insert(slot, (Instant::now(), abort));
        self.work.push(read.map(move |done| done.unwrap_or(Done::Evicted { slot, protocol })).boxed());
    }

    fn finish(&mut self, done: Done, cx: &Context<'_>) {
        match done {
            Done::Read { slot, stream, result } => {
                self.inbound(stream.protocol()).reading.remove(&slot);
                self.on_read(stream, result, cx);
            }
            Done::Evicted { slot, protocol } => {
                let inbound = self.inbound(protocol);
                inbound.reading.remove(&slot);
                inbound.open -= 1;
            }
            Done::Responded { stream, ok: true } => self.listen(stream),
            Done::Responded { stream, ok: false } => self.inbound(stream.protocol()).open -= 1,
            Done::Exchanged(protocol, done) => {
                let answer = self.requests(protocol).exchanged(done);
                self.on_answer(protocol, answer);
            }
            Done::Aborted(protocol, id) => {
                let answer = self.requests(protocol).aborted(id);
                self.on_answer(protocol, Some(answer));
            }
            Done::Written(protocol, done) => {
                for _ in 0..self.one_way(protocol).written(done) {
                    self.emit(Input::Sent { peer: self.peer });
                }
                self.drive_one_way(protocol);
            }
            Done::Noticed { class, ok } => self.on_noticed(class, ok),
            Done::Closed => {}
        }
    }

    fn on_read(&mut self, stream: Framed<Stream>, result: Read, cx: &Context<'_>) {
        let protocol = stream.protocol();
        match result {
            Ok(Some((msg, frame))) if is_one_way(protocol) => {
                self.emit_message(frame, Input::Received { peer: self.peer, msg });
                match self.credit.poll(cx) {
                    Poll::Ready(()) => self.listen(stream),
                    Poll::Pending => self.parked.push(stream),
                }
            }
            Ok(Some((msg, frame))) => {
                let token = Token(self.shared.next_token.fetch_add(1, Ordering::Relaxed));
                self.asked.insert(token, stream);
                self.emit_message(frame, Input::Request { peer: self.peer, token, msg });
            }
            Ok(None) => {
                self.inbound(protocol).open -= 1;
                self.work.push(stream.close().map(|()| Done::Closed).boxed());
            }
            Err(error) => {
                self.inbound(protocol).open -= 1;
                if let ReadError::Wire(error) = error {
                    self.emit_malformed(protocol, error);
                }
            }
        }
    }

    fn on_answer(&mut self, protocol: Protocol, answer: Option<(RequestId, requests::Answer)>) {
        match answer {
            Some((id, Ok((msg, frame)))) => self.emit_message(frame, Input::Response { id, msg }),
            Some((id, Err(why))) => self.emit(Input::RequestFailed { id, why }),
            None => {}
        }
        self.drive_requests(protocol);
    }

    fn on_noticed(&mut self, class: SendClass, ok: bool) {
        self.notices -= 1;
        if !ok {
            self.emit(Input::SendDropped { peer: self.peer, class });
        }
    }

    fn on_opened(&mut self, stream: Stream, protocol: Protocol, purpose: Purpose) {
        let mut stream = Framed::new(stream, protocol, &self.allowance);
        match purpose {
            Purpose::Request(protocol) => {
                self.requests(protocol).opened(Line::new(stream));
                self.drive_requests(protocol);
            }
            Purpose::OneWay(protocol) => {
                self.one_way(protocol).opened(stream);
                self.drive_one_way(protocol);
            }
            Purpose::Notice(frame, class) => self.work.push(
                async move {
                    let ok = stream.write(&frame).await;
                    if ok {
                        stream.close().await;
                    }
                    Done::Noticed { class, ok }
                }
                .boxed(),
            ),
        }
    }

    fn on_open_failed(&mut self, purpose: Purpose, why: RequestError) {
        match purpose {
            Purpose::Request(protocol) => {
                for id in self.requests(protocol).open_failed(why) {
                    self.emit(Input::RequestFailed { id, why });
                }
                self.drive_requests(protocol);
            }
            Purpose::OneWay(protocol) => {
                self.one_way(protocol).open_failed(why);
                self.drive_one_way(protocol);
            }
            Purpose::Notice(_, class) => self.on_noticed(class, false),
        }
    }

    /// Ends what has taken too long, now and then. True when the time for that had come.
    fn poll_tick(&mut self, cx: &mut Context<'_>) -> bool {
        let waits = REQUEST_PROTOCOLS.iter().any(|protocol| {
            self.requests[*protocol as usize].is_busy() || !self.inbound[*protocol as usize].reading.is_empty()
        });
        if self.tick.is_none() && waits {
            self.tick = Some(Delay::new(TICK));
        }
        let is_time = self.tick.as_mut().is_some_and(|tick| tick.poll_unpin(cx).is_ready());
        if is_time {
            self.tick = None;
            self.expire(Instant::now());
        }
        is_time
    }

    fn expire(&mut self, now: Instant) {
        for protocol in REQUEST_PROTOCOLS {
            let reading = self.inbound(protocol).reading.values();
            let idle = reading.take_while(|(since, _)| now.saturating_duration_since(*since) >= REQUEST_IDLE);
            idle.for_each(|(_, read)| read.abort());
            self.requests(protocol).expire(now);
            self.drive_requests(protocol);
        }
    }
}

fn is_one_way(protocol: Protocol) -> bool {
    !REQUEST_PROTOCOLS.contains(&protocol)
}

impl ConnectionHandler for Handler {
    type FromBehaviour = FromBehaviour;
    type ToBehaviour = ToBehaviour;
    type InboundProtocol = Offer;
    type OutboundProtocol = Offer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Purpose;

    fn listen_protocol(&self) -> SubstreamProtocol<Offer> {
        SubstreamProtocol::new(self.shared.names.inbound(self.server), ())
    }

    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Offer, Purpose, ToBehaviour>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
            }
            if let Some((protocol, purpose)) = self.opens.pop_front() {
                let protocol = SubstreamProtocol::new(self.shared.names.outbound(protocol), purpose);
                return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
            }
            if !self.parked.is_empty() && self.credit.poll(cx).is_ready() {
                for stream in std::mem::take(&mut self.parked) {
                    self.listen(stream);
                }
            }
            self.start_writing();
            match self.work.poll_next_unpin(cx) {
                Poll::Ready(Some(done)) => self.finish(done, cx),
                Poll::Ready(None) | Poll::Pending if self.poll_tick(cx) => {}
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn on_behaviour_event(&mut self, event: FromBehaviour) {
        match event {
            FromBehaviour::Send { msg, class } => self.send(&msg, class),
            FromBehaviour::Request { id, msg } => self.request(id, &msg),
            FromBehaviour::Respond { token, msg } => self.respond(token, msg),
            FromBehaviour::SetServerMode(server) => self.server = server,
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Offer, Offer, (), Purpose>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (protocol, stream), ..
            }) => self.accept(Framed::new(stream, protocol, &self.allowance)),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (protocol, stream),
                info,
            }) => self.on_opened(stream, protocol, info),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let why = match error {
                    StreamUpgradeError::Timeout => RequestError::Timeout,
                    StreamUpgradeError::NegotiationFailed => RequestError::Unsupported,
                    StreamUpgradeError::Io(_) => RequestError::Reset,
                    StreamUpgradeError::Apply(never) => match never {},
                };
                self.on_open_failed(info, why);
            }
            _ => {}
        }
    }
}
