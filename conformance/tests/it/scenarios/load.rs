//! Much at once, and much that nobody waits for any more.

use bytes::Bytes;
use futures::future::{join_all, select};
use registry_core::catalog::Content;
use registry_core::command::DhtCommand;
use registry_core::id::Codec;
use registry_core::{BlockId, Digest};

use super::{connected, learnt, within};
use crate::world::{Peer, World, bytes, spec};

pub(crate) async fn a_hundred_operations_at_once_all_end_well(world: impl World) {
    const PACKAGES: usize = 20;
    let name = |number: usize| format!("package-{number}");
    let data = |number: usize| bytes(50_000 + 1_000 * number, number as u64);
    let a = world.start(0, None).await;
    let b = world.start(1, Some(&a)).await;
    connected(&b, &a).await;
    let publishes = (0..PACKAGES).map(|number| {
        let a = &a;
        async move { a.publish(&name(number), "1.0.0", data(number)).await.unwrap() }
    });
    let published = within(join_all(publishes)).await;
    assert_eq!(a.stats().await.releases, PACKAGES as u64);
    for number in 0..PACKAGES {
        learnt(&b, &a, &name(number), 1).await;
    }

    let (a, b, published) = (&a, &b, &published);
    let gets = (0..PACKAGES).map(|number| async move {
        let release = b.resolve(spec(a, &name(number))).await.unwrap();
        let Content::Root { root, .. } = release.release.meta.content else { panic!("no content") };
        b.fetch(root, |_| ()).await.unwrap();
        assert!(b.read(&release).await == data(number), "other bytes came");
    });
    let searches = (0..2 * PACKAGES).map(|_| async move {
        assert_eq!(b.search("optics").await.unwrap().hits.len(), published.len());
    });
    let lookups = (0..2 * PACKAGES).map(|number| async move {
        let key = Bytes::from(format!("key {number}"));
        b.dht(DhtCommand::Closest(key)).await.unwrap();
    });
    within(futures::future::join3(join_all(gets), join_all(searches), join_all(lookups))).await;
    assert_eq!(b.stats().await.operations, 0);
    a.stop().await;
    b.stop().await;
}

pub(crate) async fn dropped_operations_are_cancelled(world: impl World) {
    const COUNT: u32 = 50;
    let a = world.start(0, None).await;
    let b = world.start(1, Some(&a)).await;
    connected(&b, &a).await;
    let published = within(a.publish("telescope", "1.0.0", bytes(2_000_000, 1))).await.unwrap();
    learnt(&b, &a, "telescope", 1).await;

    // Nobody has these, so that they run until somebody gives up.
    let unknown = (0..COUNT).map(|number| {
        let digest = Digest::of(&number.to_be_bytes());
        b.fetch(BlockId { digest, codec: Codec::Raw }, |_| ())
    });
    let running = async {
        while b.stats().await.operations < u64::from(COUNT) {
            world.moment().await;
        }
    };
    let all = select(Box::pin(join_all(unknown)), Box::pin(running));
    let futures::future::Either::Right(((), fetches)) = within(all).await else { panic!("somebody had them") };
    drop(fetches);
    let ended = async {
        while b.stats().await.operations > 0 {
            world.moment().await;
        }
    };
    within(ended).await;

    // And there is room for others.
    let Content::Root { root, .. } = published.release.meta.content else { panic!("no content") };
    within(b.fetch(root, |_| ())).await.unwrap();
    a.stop().await;
    b.stop().await;
}
