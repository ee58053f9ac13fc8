//! A whole shell around the core, but for what makes one safe: nothing is encrypted, no peer proves its id, no queue is
//! bounded, and only blocks are kept.

use std::collections::BTreeMap;
use std::io::{Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use multiaddr::{Multiaddr, Protocol as Part};
use registry_core::action::{SendClass, SignatureCheck, StoreRequest};
use registry_core::catalog::LocalPublisher;
use registry_core::id::{RequestId, Token};
use registry_core::input::{DialError, GossipVersion, Identity, ProtocolSet, Side, StoreResult};
use registry_core::search::Segment;
use registry_core::*;

const PROTOCOLS: [Protocol; 4] = [Protocol::Kad, Protocol::Gossip, Protocol::Bitswap, Protocol::Registry];
/// An ed25519 key as libp2p encodes it begins so.
const KEY_PREFIX: [u8; 4] = [0x08, 0x01, 0x12, 0x20];
const ID_LEN: usize = 38;

/// What a frame is: a one-way message, a question, or an answer.
const SEND: u8 = 0;
const ASK: u8 = 1;
const ANSWER: u8 = 2;

/// What the threads that read sockets tell the loop.
pub(crate) enum Heard {
    Connected(PeerId, Side, TcpStream),
    Frame(PeerId, u8, u64, Message),
    Closed(PeerId),
}

pub(crate) struct Shell {
    node: Node,
    /// Of the node and of its publisher: one is enough here.
    key: SigningKey,
    pub(crate) id: PeerId,
    pub(crate) publisher_id: PublisherId,
    begun: std::time::Instant,
    heard: Receiver<Heard>,
    pub(crate) tell: Sender<Heard>,
    streams: BTreeMap<PeerId, TcpStream>,
    questions: BTreeMap<Token, (PeerId, u64)>,
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
        let publisher_id = publisher.id;
        let public_key = [&KEY_PREFIX[..], &public].concat().into();
        let local = LocalPeer { id, public_key, publisher: Some(publisher) };
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("it is later than 1970");
        let start = Start { now: Instant::ORIGIN, unix: UnixTime::from_secs(since.as_secs()) };
        // A real one draws its seed from the operating system.
        let mut node = Node::new(Arc::new(Config::default()), local, Seed([secret; 32]), start);
        node.handle_input(start.now, Input::RecoveryDone);
        let (tell, heard) = channel();
        let (streams, questions, blocks) = Default::default();
        Self { node, key, id, publisher_id, begun: std::time::Instant::now(), heard, tell, streams, questions, blocks }
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.begun.elapsed().as_micros() as u64)
    }

    fn input(&mut self, input: Input) {
        self.node.handle_input(self.now(), input);
    }

    /// Starts an operation and waits for its end.
    pub(crate) fn run(&mut self, command: Command) -> Event {
        let op = self.node.command(self.now(), command).expect("the arguments are good");
        self.until(|event| match event {
            Event::Published { op: of, .. } | Event::Resolved { op: of, .. } | Event::Fetched { op: of, .. } => {
                *of == op
            }
            Event::Connected { op: of, .. } => *of == op,
            Event::Failed { op: of, error } if *of == op => panic!("{error}"),
            _ => false,
        })
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
            let wake = self.node.poll_timeout().map_or(Duration::from_secs(60), |wake| wake.at.since(self.now()));
            match self.heard.recv_timeout(std::time::Duration::from_micros(wake.as_micros() as u64)) {
                Ok(heard) => self.hear(heard),
                Err(RecvTimeoutError::Timeout) => self.node.handle_timeout(self.now()),
                Err(RecvTimeoutError::Disconnected) => unreachable!("the shell has a sender itself"),
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Dial { dial, addrs, .. } => {
                let connected = addrs.iter().filter_map(socket).find_map(|addr| TcpStream::connect(addr).ok());
                match connected {
                    Some(stream) => greet(stream, self.id, Side::Dialer, self.tell.clone()),
                    None => self.input(Input::DialFailed { dial, why: DialError::Unreachable }),
                }
            }
            Action::Disconnect { peer, .. } => {
                drop(self.streams.remove(&peer).map(|stream| stream.shutdown(Shutdown::Both)))
            }
            Action::Send { peer, msg, class } => {
                self.write(peer, SEND, 0, &msg);
                if class == SendClass::Block {
                    self.input(Input::Sent { peer });
                }
            }
            Action::Request { id, peer, msg } => self.write(peer, ASK, id.0, &msg),
            Action::Respond { token, msg } => {
                if let (Some((peer, id)), Some(msg)) = (self.questions.remove(&token), msg) {
                    self.write(peer, ANSWER, id, &msg);
                }
            }
            Action::Store { op, request } => {
                let result = self.store(request);
                self.input(Input::Stored { op, result });
            }
            Action::Verify { job, checks } => self.input(Input::Verified { job, ok: checks.iter().all(holds) }),
            Action::Sign { job, bytes, .. } => {
                let signature = Some(Bytes::copy_from_slice(&self.key.sign(&bytes).to_bytes()));
                self.input(Input::Signed { job, signature });
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
            Heard::Connected(peer, side, stream) => {
                let addr: Multiaddr = stream
                    .peer_addr()
                    .map_or(Multiaddr::empty(), |addr| Multiaddr::from(addr.ip()).with(Part::Tcp(addr.port())));
                self.streams.insert(peer, stream);
                self.input(Input::Connected { peer, addr, side });
                let gossip = Some(GossipVersion::V1_2);
                let protocols = ProtocolSet { kad: true, gossip, bitswap: true, registry: true };
                let info = Identity { protocols, agent: "plain threads".into(), listen_addrs: Vec::new() };
                self.input(Input::Identified { peer, info });
            }
            Heard::Frame(peer, SEND, _, msg) => self.input(Input::Received { peer, msg }),
            Heard::Frame(peer, ASK, id, msg) => {
                let token = Token(self.questions.last_key_value().map_or(0, |(last, _)| last.0 + 1));
                self.questions.insert(token, (peer, id));
                self.input(Input::Request { peer, token, msg });
            }
            Heard::Frame(_, _, id, msg) => self.input(Input::Response { id: RequestId(id), msg }),
            Heard::Closed(peer) => {
                self.streams.remove(&peer);
                self.input(Input::Disconnected { peer });
            }
        }
    }

    fn write(&mut self, peer: PeerId, kind: u8, id: u64, msg: &Message) {
        let mut body = Vec::new();
        msg.encode_into(&mut body);
        let protocol = PROTOCOLS.iter().position(|protocol| *protocol == msg.protocol()).expect("all are there");
        let head = [&[kind, protocol as u8][..], &id.to_be_bytes(), &(body.len() as u32).to_be_bytes()].concat();
        if let Some(stream) = self.streams.get_mut(&peer) {
            // The reading side tells when it is broken.
            let _ = stream.write_all(&[head, body].concat());
        }
    }
}

impl Drop for Shell {
    /// The threads that read hold on to the sockets until these end.
    fn drop(&mut self) {
        for stream in self.streams.values() {
            // One that is closed already is as good.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn holds(check: &SignatureCheck) -> bool {
    let key = check.key.strip_prefix(&KEY_PREFIX).and_then(|raw| VerifyingKey::try_from(raw).ok());
    let signature = Signature::from_slice(&check.signature).ok();
    key.zip(signature).is_some_and(|(key, signature)| key.verify_strict(&check.message, &signature).is_ok())
}

fn socket(addr: &Multiaddr) -> Option<(std::net::Ipv4Addr, u16)> {
    match (addr.iter().next(), addr.iter().nth(1)) {
        (Some(Part::Ip4(ip)), Some(Part::Tcp(port))) => Some((ip, port)),
        _ => None,
    }
}

/// Tells each other's ids, then reads frames on a thread of its own until the connection ends.
pub(crate) fn greet(mut stream: TcpStream, own: PeerId, side: Side, tell: Sender<Heard>) {
    thread::spawn(move || -> Result<()> {
        stream.write_all(own.as_bytes())?;
        let mut id = [0; ID_LEN];
        stream.read_exact(&mut id)?;
        let peer = PeerId::from_bytes(&id).map_err(|_| std::io::ErrorKind::InvalidData)?;
        let _ = tell.send(Heard::Connected(peer, side, stream.try_clone()?));
        while let Ok((kind, id, msg)) = read(&mut stream) {
            let _ = tell.send(Heard::Frame(peer, kind, id, msg));
        }
        let _ = tell.send(Heard::Closed(peer));
        Ok(())
    });
}

fn read(stream: &mut TcpStream) -> Result<(u8, u64, Message)> {
    let mut head = [0; 14];
    stream.read_exact(&mut head)?;
    let [kind, protocol, rest @ ..] = head;
    let id = u64::from_be_bytes(rest[..8].try_into().expect("8 bytes"));
    let len = u32::from_be_bytes(rest[8..].try_into().expect("4 bytes")) as usize;
    let protocol = *PROTOCOLS.get(usize::from(protocol)).ok_or(std::io::ErrorKind::InvalidData)?;
    let mut body = vec![0; len.min(protocol.max_frame())];
    stream.read_exact(&mut body)?;
    let msg = Message::decode(protocol, body.into()).map_err(|_| std::io::ErrorKind::InvalidData)?;
    Ok((kind, id, msg))
}
