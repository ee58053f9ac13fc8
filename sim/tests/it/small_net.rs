//! A small network in which something happens each second, to see what strikes it.

use registry_core::catalog::{Content, Name, NewRelease, Scheme, Version};
use registry_core::command::PubsubCommand;
use registry_core::exchange::unixfs::FileBuilder;
use registry_core::{BlockId, Command, Event};
use sim::fault::Effect;
use sim::net::Transport;
use sim::scenario::SECOND;
use sim::{Fault, NodeIx, Options, Scenario, World};

pub(crate) const NODES: NodeIx = 6;
pub(crate) const ALL: &[NodeIx] = &[];
pub(crate) const SOME: &[NodeIx] = &[2, 4];
pub(crate) const TOPIC: &str = "faults";
/// What the tests impose; resets are imposed under another id.
pub(crate) const ID: u32 = 1;
pub(crate) const RESETS: u32 = 2;

/// A small network in which something happens each second: messages, fetches, dials.
pub(crate) struct Net {
    pub(crate) world: World,
    pub(crate) seconds: u64,
    pub(crate) contents: u32,
    pub(crate) heard: Vec<(NodeIx, Event)>,
}

impl Net {
    pub(crate) fn new(transport: Transport) -> Self {
        let mut scenario = Scenario::small(NODES);
        scenario.net.transport = transport;
        let mut world = World::new(&scenario, 7, &Options::default(), &[0, 1, 2, 3, 4, 5]);
        (0..NODES).for_each(|ix| world.schedule_boot(u64::from(ix) * SECOND, ix));
        let mut net = Self { world, seconds: 0, contents: 0, heard: Vec::new() };
        net.wait(10);
        for ix in 0..NODES {
            net.world.command(ix, Command::Pubsub(PubsubCommand::Subscribe(TOPIC.into()))).expect("it runs");
        }
        net.wait(5);
        net
    }

    pub(crate) fn wait(&mut self, seconds: u64) {
        self.seconds += seconds;
        while self.world.step(self.seconds * SECOND).is_some() {
            while let Some(told) = self.world.take_emitted() {
                self.heard.push(told);
            }
        }
    }

    pub(crate) fn work(&mut self, seconds: u64) {
        for _ in 0..seconds {
            let node = (self.seconds % u64::from(NODES)) as NodeIx;
            if self.seconds.is_multiple_of(5) {
                self.world.impose(RESETS, &Fault::Reset, ALL);
                self.exchange(node);
            }
            self.say(node);
            self.wait(1);
        }
    }

    /// Nodes that cannot are passed over.
    pub(crate) fn say(&mut self, node: NodeIx) {
        let data = vec![self.seconds as u8; 3_000].into();
        let _ = self.world.command(node, Command::Pubsub(PubsubCommand::Publish { topic: TOPIC.into(), data }));
    }

    pub(crate) fn exchange(&mut self, node: NodeIx) {
        let root = self.publish(node);
        self.wait(2);
        for other in (0..NODES).filter(|other| *other != node) {
            let _ = self.world.command(other, Command::Fetch(root));
        }
    }

    pub(crate) fn publish(&mut self, node: NodeIx) -> BlockId {
        self.contents += 1;
        let mut file = FileBuilder::new();
        let mut blocks: Vec<_> = file.push(vec![self.contents as u8; 20_000].into()).into_iter().collect();
        let built = file.finish();
        blocks.extend(built.blocks);
        blocks.into_iter().for_each(|block| self.world.put_block(node, block.id.digest, block.data));
        let name = Name::new(&format!("content-{}", self.contents)).expect("letters, digits and a hyphen");
        let content = Content::Root { root: built.tree.id, size: built.tree.size };
        let release = NewRelease::new(name, Version::new("1.0.0", Scheme::Semver).expect("a version"), content);
        let _ = self.world.command(node, Command::Publish(release));
        built.tree.id
    }

    pub(crate) fn fired(&self, effect: Effect) -> u64 {
        self.world.fired().of(effect)
    }

    /// How many messages each node was told of since the last call.
    pub(crate) fn told(&mut self) -> [usize; NODES as usize] {
        let mut told = [0; NODES as usize];
        for (node, event) in self.heard.drain(..) {
            told[node as usize] += usize::from(matches!(event, Event::PubsubMessage { .. }));
        }
        told
    }
}

#[track_caller]
pub(crate) fn fires(transport: Transport, fault: &Fault, nodes: &[NodeIx], effects: &[Effect]) -> Net {
    let mut net = Net::new(transport);
    for effect in effects {
        assert_eq!(net.fired(*effect), 0, "{effect:?} without {fault:?}");
    }
    assert!(net.world.impose(ID, fault, nodes));
    net.work(25);
    let fired = |net: &Net| effects.iter().map(|effect| net.fired(*effect)).collect::<Vec<_>>();
    let during = fired(&net);
    assert!(during.iter().all(|times| *times > 0), "{fault:?}: {effects:?} {during:?}");
    assert!(net.world.lift(ID) && !net.world.lift(ID));
    net.work(10);
    assert_eq!(fired(&net), during, "{fault:?} has effects after its end");
    net
}
