//! What is published: small real contents, packed as a shell packs them.

use std::sync::Arc;

use bytes::Bytes;
use registry_core::catalog::{Content, Name, NewRelease, PackageSpec, Scheme, Version};
use registry_core::exchange::unixfs::{Block, DirectoryBuilder, FileBuilder, Tree};
use registry_core::search::Query;
use registry_core::{BlockId, Digest, PeerId, PublisherId};

use crate::engine::{NodeIx, World};
use crate::mix::stream;

/// One package version of the workload.
#[derive(Debug)]
pub(crate) struct Package {
    /// The node that publishes it.
    pub(crate) by: NodeIx,
    pub(crate) publisher: PublisherId,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) root: BlockId,
    size: u64,
    blocks: Vec<Block>,
    /// By whom it was said to be published: its node may have lost its disk since, and be another peer.
    pub(crate) acknowledged: Option<PeerId>,
    pub(crate) statement: Option<Digest>,
}

impl Package {
    /// Number `number` of a run: every fourth is a further version of the package before it.
    pub(crate) fn new(seed: u64, number: u32, by: NodeIx, world: &World) -> Self {
        let series = series(number);
        let publisher = world.host(by).local().publisher.as_ref().expect("it was chosen to publish").id;
        let (tree, blocks) = content(seed, number);
        Self {
            by,
            publisher,
            name: format!("pkg-{series}"),
            version: format!("1.{}.0", number - series),
            root: tree.id,
            size: tree.size,
            blocks,
            acknowledged: None,
            statement: None,
        }
    }

    /// A word that no other package has.
    pub(crate) fn keyword(&self) -> String {
        keyword(&self.name)
    }

    pub(crate) fn release(&self) -> NewRelease {
        let content = Content::Root { root: self.root, size: self.size };
        describe(&self.name, &self.version, &self.name, self.keyword(), content)
    }

    /// Exactly this version.
    pub(crate) fn spec(&self) -> PackageSpec {
        PackageSpec {
            publisher: Some(self.publisher),
            name: Name::new(&self.name).expect("letters, digits and a hyphen"),
            version: Some(self.version.clone()),
        }
    }

    /// A search that this package answers.
    pub(crate) fn query(&self) -> Query {
        Query { text: self.keyword(), limit: 10, ..Query::default() }
    }

    /// Puts its blocks on the publisher's disk.
    pub(crate) fn store(&self, world: &mut World) {
        for Block { id, data } in &self.blocks {
            world.put_block(self.by, id.digest, data.clone());
        }
    }

    /// Are all its bytes on a node's disk, unaltered?
    pub(crate) fn is_held_by(&self, world: &World, node: NodeIx) -> bool {
        let disk = world.host(node).disk();
        self.blocks.iter().all(|Block { id, data }| disk.block(&id.digest) == Some(data))
    }
}

/// A release that says of itself what one of the run's packages says.
pub(crate) fn imitation(package: u32, number: u32) -> NewRelease {
    let original = format!("pkg-{}", series(package));
    describe(&format!("{original}-{number}"), "1.0.0", &original, keyword(&original), Content::Unknown)
}

/// The place in the DHT of who provides a package's content.
pub(crate) fn place(seed: u64, number: u32) -> Digest {
    Digest::of(&content(seed, number).0.id.digest.to_multihash())
}

fn series(number: u32) -> u32 {
    number - number % 4 / 3
}

fn keyword(name: &str) -> String {
    format!("series{}", name.trim_start_matches("pkg-"))
}

fn describe(name: &str, version: &str, subject: &str, keyword: String, content: Content) -> NewRelease {
    NewRelease {
        name: Name::new(name).expect("letters, digits and hyphens"),
        version: Version { text: Arc::from(version), scheme: Scheme::Semver },
        content,
        summary: format!("Number {subject} of a simulated network"),
        description: "Bytes that travel through virtual wires to see whether they arrive.".into(),
        keywords: vec![keyword, "simulated".into()],
        category: "test".into(),
        tags: vec!["virtual".into()],
        licence: "MIT".into(),
        dependencies: Vec::new(),
    }
}

/// A directory of one to four files, from tens of bytes to some hundred KiB.
fn content(seed: u64, number: u32) -> (Tree, Vec<Block>) {
    let mut rng = stream(seed, "content", number, 0);
    let mut blocks = Vec::new();
    let mut directory = DirectoryBuilder::new();
    for file in 0..1 + rng.below(4) {
        let limit = [64, 1_024, 16_384, 131_072][rng.index(4)];
        let mut data = vec![0; 16 + rng.index(limit)];
        rng.fill(&mut data);
        let mut builder = FileBuilder::new();
        blocks.extend(builder.push(Bytes::from(data)));
        let built = builder.finish();
        blocks.extend(built.blocks);
        directory.add(format!("file-{file}"), built.tree).expect("the names differ");
    }
    let built = directory.finish().expect("four entries fit");
    blocks.extend(built.blocks);
    (built.tree, blocks)
}
