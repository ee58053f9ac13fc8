//! A swarm whose loop is the test: it hands actions in and takes inputs out.

use bytes::Bytes;
use futures::channel::oneshot;
use futures::{SinkExt, StreamExt};
use libp2p_identity::Keypair;
use multiaddr::Multiaddr;
use registry_core::action::SendClass;
use registry_core::id::{DialId, RequestId};
use registry_core::input::{RequestError, Side};
use registry_core::{Input, Message, PeerId, Protocol};
use registry_node::net::{Behaviour, NetAction, NetConfig, NetLink};
use registry_node::{Runtime, swarm};

use crate::PATIENCE;
use crate::runtimes::Mix;

pub(crate) struct Shell {
    pub(crate) id: PeerId,
    pub(crate) addr: Multiaddr,
    link: NetLink,
    _stop: oneshot::Sender<()>,
}

impl Shell {
    pub(crate) async fn start(mix: &Mix) -> Self {
        Self::with(mix, NetConfig::default()).await
    }

    pub(crate) async fn with(mix: &Mix, config: NetConfig) -> Self {
        let keypair = Keypair::generate_ed25519();
        let (behaviour, link) = Behaviour::new(config).unwrap();
        let runtime = mix.runtime();
        let transport = runtime.transport(&keypair).unwrap();
        let executor = move |task| runtime.spawn(task);
        let mut swarm = swarm::build(transport, &keypair, behaviour, "test".into(), executor);
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let (stop, mut stopped) = oneshot::channel();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = swarm.select_next_some() => swarm::handle_event(&mut swarm, &event),
                    _ = &mut stopped => return,
                }
            }
        });
        let id = PeerId::from_bytes(&keypair.public().to_peer_id().to_bytes()).unwrap();
        let mut shell = Self { id, addr: Multiaddr::empty(), link, _stop: stop };
        shell.addr = shell
            .until(|input| match input {
                Input::LocalAddr { addr, up: true } => Some(addr.clone()),
                _ => None,
            })
            .await;
        shell
    }

    pub(crate) async fn act(&mut self, action: NetAction) {
        self.link.actions.send(action).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> Input {
        let next = tokio::time::timeout(PATIENCE, self.link.inputs.next());
        next.await.expect("nothing happens").expect("the swarm is gone").into_input()
    }

    /// Skips inputs until one is wanted.
    pub(crate) async fn until<T>(&mut self, mut wanted: impl FnMut(&Input) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(&self.next().await) {
                return found;
            }
        }
    }

    pub(crate) async fn dial(&mut self, dial: u64, peer: Option<PeerId>, addrs: Vec<Multiaddr>) {
        self.act(NetAction::Dial { dial: DialId(dial), peer, addrs }).await;
    }

    /// Connects, and waits until both know what the other speaks.
    pub(crate) async fn connect(&mut self, to: &mut Self) {
        self.dial(0, Some(to.id), vec![to.addr.clone()]).await;
        let (a, b) = (self.id, to.id);
        let identified = |who: PeerId| {
            move |input: &Input| matches!(input, Input::Identified { peer, .. } if *peer == who).then_some(())
        };
        let connected = |who: PeerId| {
            move |input: &Input| match input {
                Input::Connected { peer, side, .. } if *peer == who => Some(*side),
                _ => None,
            }
        };
        assert_eq!(self.until(connected(b)).await, Side::Dialer);
        assert_eq!(to.until(connected(a)).await, Side::Listener);
        self.until(identified(b)).await;
        to.until(identified(a)).await;
    }

    pub(crate) async fn request(&mut self, id: u64, peer: PeerId, msg: Message) {
        self.act(NetAction::Request { id: RequestId(id), peer, msg }).await;
    }

    /// Sends a request and waits for its end.
    pub(crate) async fn ask(&mut self, id: u64, peer: PeerId, msg: Message) -> Result<Message, RequestError> {
        self.request(id, peer, msg).await;
        self.until(|input| match input {
            Input::Response { id: of, msg } if of.0 == id => Some(Ok(msg.clone())),
            Input::RequestFailed { id: of, why } if of.0 == id => Some(Err(*why)),
            _ => None,
        })
        .await
    }

    pub(crate) async fn send(&mut self, peer: PeerId, msg: Message, class: SendClass) {
        self.act(NetAction::Send { peer, msg, class }).await;
    }

    /// Answers every request with itself from now on, and gives everything else that happens.
    pub(crate) fn echo(self) -> Echo {
        let (id, addr) = (self.id, self.addr.clone());
        let (sender, inputs) = tokio::sync::mpsc::unbounded_channel();
        let Self { mut link, _stop, .. } = self;
        tokio::spawn(async move {
            let _running = _stop;
            while let Some(input) = link.inputs.next().await {
                match input.into_input() {
                    Input::Request { token, msg, .. } => {
                        link.actions.send(NetAction::Respond { token, msg: Some(msg) }).await.unwrap();
                    }
                    other => {
                        if sender.send(other).is_err() {
                            return;
                        }
                    }
                }
            }
        });
        Echo { id, addr, inputs }
    }
}

pub(crate) struct Echo {
    pub(crate) id: PeerId,
    pub(crate) addr: Multiaddr,
    pub(crate) inputs: tokio::sync::mpsc::UnboundedReceiver<Input>,
}

impl Echo {
    pub(crate) async fn until<T>(&mut self, mut wanted: impl FnMut(&Input) -> Option<T>) -> T {
        loop {
            let input = tokio::time::timeout(PATIENCE, self.inputs.recv()).await.expect("nothing happens").unwrap();
            if let Some(found) = wanted(&input) {
                return found;
            }
        }
    }

    /// An honest peer comes and is served.
    pub(crate) async fn serves_an_honest_peer(&self, mix: &Mix) {
        let mut honest = Shell::start(mix).await;
        honest.dial(0, Some(self.id), vec![self.addr.clone()]).await;
        honest.until(|input| matches!(input, Input::Connected { .. }).then_some(())).await;
        for n in 0..20 {
            let msg = find_node(&[n; 8]);
            assert_eq!(honest.ask(u64::from(n), self.id, msg.clone()).await, Ok(msg));
        }
    }
}

/// A DHT message: type 4, key.
pub(crate) fn find_node(key: &[u8]) -> Message {
    Message::decode(Protocol::Kad, find_node_body(key).into()).unwrap()
}

pub(crate) fn find_node_body(key: &[u8]) -> Vec<u8> {
    let mut body = vec![0x08, 4, 0x12, key.len() as u8];
    body.extend_from_slice(key);
    body
}

/// An RPC that subscribes to a topic.
pub(crate) fn subscription(topic: &str) -> Message {
    let mut entry = vec![0x08, 1, 0x12, topic.len() as u8];
    entry.extend_from_slice(topic.as_bytes());
    let mut body = vec![0x0a, entry.len() as u8];
    body.extend_from_slice(&entry);
    Message::decode(Protocol::Gossip, body.into()).unwrap()
}

/// A Bitswap message with one block.
pub(crate) fn block(data: &[u8]) -> Message {
    fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        let mut rest = bytes.len();
        while rest >= 0x80 {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
        out.extend_from_slice(bytes);
        out
    }
    let prefix = field(0x0a, &[1, 0x55, 0x12, 32]);
    let payload = [prefix, field(0x12, data)].concat();
    Message::decode(Protocol::Bitswap, field(0x1a, &payload).into()).unwrap()
}

/// `Compare` without ranges: an array of a tag and an empty list.
pub(crate) fn compare_nothing() -> Message {
    Message::decode(Protocol::Registry, Bytes::from_static(&[0x82, 0, 0x80])).unwrap()
}
