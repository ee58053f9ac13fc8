//! What a shell does for the core: a loop, what each action asks for, and what each happening is called.
//!
//! It is whole but for what makes one safe: nothing is encrypted, no peer proves its id, no queue is bounded, and only
//! blocks are kept.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use multiaddr::{Multiaddr, Protocol as Part};
use registry_core::action::{SendClass, SignatureCheck, StoreRequest};
use registry_core::catalog::LocalPublisher;
use registry_core::id::{RequestId, Token};
use registry_core::input::{DialError, GossipVersion, Identity, ProtocolSet, Row, Side, StoreResult};
use registry_core::search::Segment;
use registry_core::*;

use crate::wire::{Frame, Heard, greet};

pub(crate) struct Shell {
    node: Node,
    id: PeerId,
    pub(crate) publisher_id: PublisherId,
    /// Of the node and of its publisher: one is enough here.
    key: SigningKey,
    begun: std::time::Instant,
    heard: Receiver<Heard>,
    tell: Sender<Heard>,
    streams: BTreeMap<PeerId, TcpStream>,
    questions: BTreeMap<Token, (PeerId, RequestId)>,
    pub(crate) blocks: BTreeMap<Digest, Bytes>,
}

impl Shell {
    pub(crate) fn new(secret: u8) -> Self {
        let key = SigningKey::from_bytes(&[secret; 32]);
        let public = key.verifying_key().to_bytes();
        let id = PeerId::from_ed25519(&public);
        let next = Digest::of(&[secret]);
        let signature = key.sign(&LocalPublisher::signing_input(public, next)).to_bytes();
        let publisher = LocalPublisher::new(public, next, signature);
        let (publisher_id, origin) = (publisher.id, publisher.origin());
        let public_key = Bytes::copy_from_slice(id.inlined_key().expect("an ed25519 key is in the id"));
        let local = LocalPeer { id, public_key, publisher: Some(publisher) };
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("it is later than 1970");
        let start = Start { now: Instant::ORIGIN, unix: UnixTime::from_secs(since.as_secs()) };
        // A real one draws its seed from the operating system.
        let mut node = Node::new(Arc::new(Config::default()), local, Seed([secret; 32]), start);
        // A real one finds it in the store that it has made together with the keys.
        let origin = Row { table: origin.table, key: origin.key, value: Bytes::new() };
        node.handle_input(start.now, Input::Recovered(vec![origin]));
        node.handle_input(start.now, Input::RecoveryDone);
        let (tell, heard) = channel();
        let (streams, questions, blocks) = Default::default();
        Self { node, id, publisher_id, key, begun: std::time::Instant::now(), heard, tell, streams, questions, blocks }
    }

    /// Takes connections on a thread of its own.
    pub(crate) fn listen(&self, listener: TcpListener) {
        let (id, tell) = (self.id, self.tell.clone());
        thread::spawn(move || {
            listener.incoming().flatten().for_each(|stream| greet(stream, id, Side::Listener, tell.clone()));
        });
    }

    pub(crate) fn command(&mut self, command: Command) -> OpId {
        self.node.command(self.now(), command).expect("the arguments are good")
    }

    /// Starts an operation and waits for its end.
    pub(crate) fn run(&mut self, command: Command) -> Event {
        let op = self.command(command);
        match self.until(|event| event.ends() == Some(op)) {
            Event::Failed { error, .. } => panic!("{error}"),
            end => end,
        }
    }

    /// The loop: drain all actions, then wait for something to happen, but no longer than the node wants.
    pub(crate) fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            while let Some(action) = self.node.poll_action() {
                match action {
                    Action::Emit(event) if wanted(&event) => return event,
                    action => self.act(action),
                }
            }
            let patience = self.node.poll_timeout().map_or(Duration::MAX, |wake| wake.at.since(self.now()));
            match self.heard.recv_timeout(patience) {
                Ok(heard) => self.hear(heard),
                Err(RecvTimeoutError::Timeout) => self.node.handle_timeout(self.now()),
                Err(RecvTimeoutError::Disconnected) => unreachable!("the shell has a sender itself"),
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Dial { dial, addrs, .. } => {
                match addrs.iter().filter_map(socket).find_map(|addr| TcpStream::connect(addr).ok()) {
                    Some(stream) => greet(stream, self.id, Side::Dialer, self.tell.clone()),
                    None => self.input(Input::DialFailed { dial, why: DialError::Unreachable }),
                }
            }
            Action::Disconnect { peer, .. } => {
                // The thread that reads it tells when it is closed.
                let _ = self.streams.get(&peer).map(|stream| stream.shutdown(Shutdown::Both));
            }
            Action::Send { peer, msg, class } => {
                self.write(peer, Frame::OneWay(msg));
                if class == SendClass::Block {
                    self.input(Input::Sent { peer });
                }
            }
            Action::Request { id, peer, msg } => self.write(peer, Frame::Question(id, msg)),
            Action::Respond { token, msg } => {
                if let (Some((peer, id)), Some(msg)) = (self.questions.remove(&token), msg) {
                    self.write(peer, Frame::Answer(id, msg));
                }
            }
            Action::Store { op, request } => {
                let result = self.store(request);
                self.input(Input::Stored { op, result });
            }
            Action::Verify { job, checks } => self.input(Input::Verified { job, ok: checks.iter().all(holds) }),
            Action::Sign { job, bytes, .. } => {
                let signature = Bytes::copy_from_slice(&self.key.sign(&bytes).to_bytes());
                self.input(Input::Signed { job, signature: Some(signature) });
            }
            Action::Hash { job, data } => self.input(Input::Hashed { job, digest: Digest::of(&data) }),
            Action::Merge { job, parts } => self.input(Input::Merged { job, segment: Segment::merge(&parts).into() }),
            Action::SetServerMode(_) | Action::Emit(_) => {}
        }
    }

    fn store(&mut self, request: StoreRequest) -> StoreResult {
        match request {
            StoreRequest::Commit(_) => StoreResult::Done,
            StoreRequest::PutBlock { digest, data } => {
                self.blocks.insert(digest, data);
                StoreResult::Done
            }
            StoreRequest::GetBlock(digest) => StoreResult::Block(self.blocks.get(&digest).cloned()),
            StoreRequest::HasBlocks(digests) => {
                StoreResult::Has(digests.iter().map(|digest| self.blocks.contains_key(digest)).collect())
            }
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Up(peer, side, stream, addr) => {
                self.streams.insert(peer, stream);
                let addr = Multiaddr::from(addr.ip()).with(Part::Tcp(addr.port()));
                self.input(Input::Connected { peer, addr, side });
                let gossip = Some(GossipVersion::V1_2);
                let protocols = ProtocolSet { kad: true, gossip, bitswap: true, registry: true };
                let info = Identity { protocols, agent: "plain threads".into(), listen_addrs: Vec::new() };
                self.input(Input::Identified { peer, info });
            }
            Heard::Frame(peer, Frame::OneWay(msg)) => self.input(Input::Received { peer, msg }),
            Heard::Frame(peer, Frame::Question(id, msg)) => {
                let token = Token(self.questions.last_key_value().map_or(0, |(last, _)| last.0 + 1));
                self.questions.insert(token, (peer, id));
                self.input(Input::Request { peer, token, msg });
            }
            Heard::Frame(_, Frame::Answer(id, msg)) => self.input(Input::Response { id, msg }),
            Heard::Down(peer) => {
                self.streams.remove(&peer);
                self.input(Input::Disconnected { peer });
            }
        }
    }

    fn input(&mut self, input: Input) {
        self.node.handle_input(self.now(), input);
    }

    fn now(&self) -> Instant {
        Instant::ORIGIN + self.begun.elapsed()
    }

    fn write(&mut self, peer: PeerId, frame: Frame) {
        if let Some(stream) = self.streams.get_mut(&peer) {
            // The thread that reads it tells when it is broken.
            let _ = frame.write(stream);
        }
    }
}

fn holds(check: &SignatureCheck) -> bool {
    // An ed25519 key as libp2p encodes it is a prefix and the key itself.
    let key = check.key.last_chunk().and_then(|key| VerifyingKey::from_bytes(key).ok());
    let signature = Signature::from_slice(&check.signature).ok();
    key.zip(signature).is_some_and(|(key, signature)| key.verify_strict(&check.message, &signature).is_ok())
}

fn socket(addr: &Multiaddr) -> Option<(std::net::Ipv4Addr, u16)> {
    match (addr.iter().next(), addr.iter().nth(1)) {
        (Some(Part::Ip4(ip)), Some(Part::Tcp(port))) => Some((ip, port)),
        _ => None,
    }
}
