//! Whole nodes, on any network.

pub(crate) mod flattery;
pub(crate) mod idle;
mod load;
mod packages;
pub(crate) mod shell;

use futures::{Stream, StreamExt};
use registry_core::Event;

pub(crate) use load::{a_hundred_operations_at_once_all_end_well, dropped_operations_are_cancelled};
pub(crate) use packages::{
    a_fetch_that_was_cut_off_goes_on_after_a_restart, a_node_that_was_away_catches_up,
    a_restarted_node_knows_what_it_knew, values_providers_and_messages_travel_between_nodes,
    what_one_node_publishes_others_find_and_fetch_even_when_it_is_gone,
};

use crate::PATIENCE;
use crate::world::Peer;

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it does not come")
}

/// Skips events until one is wanted.
async fn until(events: &mut (impl Stream<Item = Event> + Unpin), mut wanted: impl FnMut(&Event) -> bool) {
    let found = async {
        while let Some(event) = events.next().await {
            if wanted(&event) {
                return;
            }
        }
        panic!("the node is gone");
    };
    within(found).await;
}

async fn connected<P: Peer>(node: &P, to: &P) {
    let mut events = node.events().await;
    if !node.peers().await.contains(&to.peer_id()) {
        until(&mut events, |event| *event == Event::PeerUp(to.peer_id())).await;
    }
}

/// Waits until a node knows so many versions of another's package.
async fn learnt<P: Peer>(node: &P, of: &P, name: &str, versions: usize) {
    let mut events = node.events().await;
    while node.info(crate::world::spec(of, name)).await.len() < versions {
        until(&mut events, |event| matches!(event, Event::Update { .. })).await;
    }
}
