//! Nodes in the simulator: whoever waits lets virtual time go on, event by event.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Stream, stream};
use multiaddr::Multiaddr;
use registry_core::catalog::{Content, NewRelease, PackageSpec, ReleaseInfo};
use registry_core::command::{Command, DhtCommand, PubsubCommand};
use registry_core::event::{DhtResult, Stage};
use registry_core::exchange::unixfs::{Block, DirectoryBuilder, FileBuilder};
use registry_core::id::OpId;
use registry_core::search::{Query, SearchPage};
use registry_core::{BlockId, Event, PeerId, PublisherId, Stats, TopicView};
use registry_node::Error;
use sim::engine::Down;
use sim::net::listen_addr;
use sim::{NodeIx, Options, Scenario};

use super::{Peer, World, config, release};

/// Nodes there may be.
const NODES: u32 = 20;
/// A scenario that takes longer does not end. In microseconds.
const LIMIT: u64 = 3_600_000_000;

type Queue = RefCell<VecDeque<Event>>;

struct State {
    world: sim::World,
    /// Ends of operations that somebody still waits for.
    ended: BTreeMap<(NodeIx, OpId), Event>,
    stages: BTreeMap<(NodeIx, OpId), VecDeque<Stage>>,
    readers: Vec<(NodeIx, Weak<Queue>)>,
    /// Blocks of everything published, and the file in it.
    contents: BTreeMap<BlockId, (Vec<Block>, Vec<u8>)>,
}

/// A virtual network of [`NODES`] publishers that encodes every message and calls for timeouts when nothing is due.
#[derive(Clone)]
pub(crate) struct Simulated(Rc<RefCell<State>>);

#[derive(Clone)]
pub(crate) struct Node {
    net: Simulated,
    ix: NodeIx,
}

impl Simulated {
    pub(crate) fn new() -> Self {
        let scenario = Scenario { config: Arc::new(config()), ..Scenario::standard(NODES) };
        let options = Options { wire: true, spurious: true, ..Options::default() };
        let publishers: Vec<_> = (0..NODES).collect();
        Self(Rc::new(RefCell::new(State {
            world: sim::World::new(&scenario, 1, &options, &publishers),
            ended: BTreeMap::new(),
            stages: BTreeMap::new(),
            readers: Vec::new(),
            contents: BTreeMap::new(),
        })))
    }

    /// Takes the next event and tells what nodes said.
    fn step(&self) {
        let state = &mut *self.0.borrow_mut();
        assert!(state.world.step(LIMIT).is_some(), "nothing happens in a virtual hour");
        while let Some((ix, event)) = state.world.take_emitted() {
            match &event {
                Event::Progress { op, stage } => state.stages.entry((ix, *op)).or_default().push_back(*stage),
                Event::Published { op, .. }
                | Event::SearchDone { op, .. }
                | Event::Resolved { op, .. }
                | Event::Fetched { op, .. }
                | Event::Connected { op, .. }
                | Event::Dht { op, .. }
                | Event::PubsubPublished { op, .. }
                | Event::Failed { op, .. } => drop(state.ended.insert((ix, *op), event)),
                _ => {
                    let of_node = state.readers.iter().filter(|(reader, _)| *reader == ix);
                    for queue in of_node.filter_map(|(_, queue)| queue.upgrade()) {
                        queue.borrow_mut().push_back(event.clone());
                    }
                }
            }
        }
    }
}

impl World for Simulated {
    type Peer = Node;

    async fn start(&self, number: usize, through: Option<&Node>) -> Node {
        let node = Node { net: self.clone(), ix: number as NodeIx };
        {
            let world = &mut self.0.borrow_mut().world;
            world.schedule_boot(world.now(), node.ix);
        }
        while !self.0.borrow().world.host(node.ix).is_up() {
            self.step();
        }
        if let Some(through) = through {
            node.command(Command::Bootstrap(vec![through.addr()])).unwrap();
        }
        node
    }

    async fn moment(&self) {
        self.step();
        tokio::task::yield_now().await;
    }
}

/// A running operation.
struct Operation {
    node: Node,
    op: OpId,
    ended: bool,
}

impl Future for Operation {
    type Output = Result<Event, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let place = (self.node.ix, self.op);
        let ended = self.node.net.0.borrow_mut().ended.remove(&place);
        if ended.is_none() {
            self.node.net.step();
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.ended = true;
        Poll::Ready(match ended {
            Some(Event::Failed { error, .. }) => Err(error.into()),
            Some(event) => Ok(event),
            None => Err(Error::NotRunning),
        })
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if !self.ended {
            // It may have ended meanwhile.
            let _ = self.node.command(Command::Cancel(self.op));
        }
    }
}

impl Node {
    fn command(&self, command: Command) -> Result<OpId, Error> {
        Ok(self.net.0.borrow_mut().world.command(self.ix, command)?)
    }

    fn start(&self, command: Command) -> Result<Operation, Error> {
        Ok(Operation { node: self.clone(), op: self.command(command)?, ended: false })
    }

    fn look<T>(&self, look: impl FnOnce(&registry_core::Node) -> T) -> T {
        look(self.net.0.borrow().world.node(self.ix).expect("the node runs"))
    }
}

impl Peer for Node {
    fn peer_id(&self) -> PeerId {
        self.net.0.borrow().world.host(self.ix).peer_id()
    }

    fn publisher_id(&self) -> PublisherId {
        self.net.0.borrow().world.host(self.ix).local().publisher.as_ref().expect("all publish").id
    }

    fn addr(&self) -> Multiaddr {
        listen_addr(self.ix)
    }

    async fn publish(&self, name: &str, text: &str, data: Vec<u8>) -> Result<Arc<ReleaseInfo>, Error> {
        let mut file = FileBuilder::new();
        let mut blocks = file.push(Bytes::from(data.clone()));
        let built = file.finish();
        blocks.extend(built.blocks);
        let mut folder = DirectoryBuilder::new();
        folder.add("data", built.tree).unwrap();
        let built = folder.finish().unwrap();
        blocks.extend(built.blocks);
        {
            let state = &mut *self.net.0.borrow_mut();
            blocks.iter().for_each(|block| state.world.put_block(self.ix, block.id.digest, block.data.clone()));
            state.contents.insert(built.tree.id, (blocks, data));
        }
        let content = Content::Root { root: built.tree.id, size: built.tree.size };
        let release = NewRelease { content, ..release(name, text) };
        match self.start(Command::Publish(release))?.await? {
            Event::Published { release, .. } => Ok(release),
            other => panic!("{other:?}"),
        }
    }

    async fn search(&self, text: &str) -> Result<SearchPage, Error> {
        let query = Query { text: text.into(), limit: 100, ..Query::default() };
        match self.start(Command::Search(query))?.await? {
            Event::SearchDone { page, .. } => Ok(page),
            other => panic!("{other:?}"),
        }
    }

    async fn resolve(&self, spec: PackageSpec) -> Result<Arc<ReleaseInfo>, Error> {
        match self.start(Command::Resolve(spec))?.await? {
            Event::Resolved { release, .. } => Ok(release),
            other => panic!("{other:?}"),
        }
    }

    async fn fetch(&self, root: BlockId, mut stage: impl FnMut(Stage)) -> Result<Vec<(PeerId, u64)>, Error> {
        let mut fetch = self.start(Command::Fetch(root))?;
        let place = (self.ix, fetch.op);
        let net = self.net.clone();
        let ended = std::future::poll_fn(|cx| {
            let ended = Pin::new(&mut fetch).poll(cx);
            net.0.borrow_mut().stages.remove(&place).into_iter().flatten().for_each(&mut stage);
            ended
        });
        match ended.await? {
            Event::Fetched { sources, .. } => Ok(sources),
            other => panic!("{other:?}"),
        }
    }

    async fn read(&self, release: &ReleaseInfo) -> Vec<u8> {
        let Content::Root { root, .. } = release.release.meta.content else { panic!("no content") };
        let state = self.net.0.borrow();
        let (blocks, data) = &state.contents[&root];
        let disk = state.world.host(self.ix).disk();
        assert!(blocks.iter().all(|Block { id, data }| disk.block(&id.digest) == Some(data)), "bytes are missing");
        data.clone()
    }

    async fn dht(&self, command: DhtCommand) -> Result<DhtResult, Error> {
        match self.start(Command::Dht(command))?.await? {
            Event::Dht { result, .. } => Ok(result),
            other => panic!("{other:?}"),
        }
    }

    async fn pubsub_subscribe(&self, topic: &str) {
        self.command(Command::Pubsub(PubsubCommand::Subscribe(topic.into()))).unwrap();
    }

    async fn pubsub_publish(&self, topic: &str, data: Bytes) -> Result<u32, Error> {
        match self.start(Command::Pubsub(PubsubCommand::Publish { topic: topic.into(), data }))?.await? {
            Event::PubsubPublished { sent, .. } => Ok(sent),
            other => panic!("{other:?}"),
        }
    }

    async fn connect(&self, addr: Multiaddr) -> Result<PeerId, Error> {
        match self.start(Command::Connect(addr))?.await? {
            Event::Connected { peer, .. } => Ok(peer),
            other => panic!("{other:?}"),
        }
    }

    async fn disconnect(&self, peer: PeerId) {
        self.command(Command::Disconnect(peer)).unwrap();
    }

    async fn info(&self, spec: PackageSpec) -> Vec<Arc<ReleaseInfo>> {
        self.look(|node| node.info(&spec))
    }

    async fn peers(&self) -> Vec<PeerId> {
        self.look(|node| node.peers()).into_iter().map(|view| view.peer).collect()
    }

    async fn stats(&self) -> Stats {
        self.look(|node| node.stats())
    }

    async fn topics(&self) -> Vec<TopicView> {
        self.look(|node| node.topics())
    }

    async fn events(&self) -> impl Stream<Item = Event> + Unpin {
        let queue = Rc::new(Queue::default());
        self.net.0.borrow_mut().readers.push((self.ix, Rc::downgrade(&queue)));
        let net = self.net.clone();
        stream::poll_fn(move |cx| {
            let event = queue.borrow_mut().pop_front();
            if event.is_none() {
                net.step();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(event)
        })
    }

    /// As a crash: its disk may lose what was not yet acknowledged.
    async fn stop(&self) {
        self.net.0.borrow_mut().world.crash(self.ix, Down::Refusing);
    }
}
