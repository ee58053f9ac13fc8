//! Topics joined by hand: the node leaves one when nobody listens to it any more.

use std::collections::HashMap;
use std::sync::Arc;

use registry_core::id::TopicName;
use registry_node::{Error, Registry};
use tokio::sync::Mutex;

/// How many listen to each topic. The lock is held while the node joins or leaves, so that the two agree.
#[derive(Clone, Debug, Default)]
pub(super) struct Topics(Arc<Mutex<HashMap<TopicName, usize>>>);

/// Keeps a topic joined.
pub(super) struct Listening {
    registry: Registry,
    topics: Topics,
    topic: TopicName,
}

impl Topics {
    pub(super) async fn join(&self, registry: &Registry, topic: TopicName) -> Result<Listening, Error> {
        let mut counts = self.0.lock().await;
        if !counts.contains_key(&topic) {
            registry.pubsub_subscribe(topic.clone()).await?;
        }
        *counts.entry(topic.clone()).or_default() += 1;
        Ok(Listening { registry: registry.clone(), topics: self.clone(), topic })
    }

    async fn leave(&self, registry: &Registry, topic: TopicName) {
        let mut counts = self.0.lock().await;
        let Some(count) = counts.get_mut(&topic) else { return };
        *count -= 1;
        if *count == 0 {
            counts.remove(&topic);
            // A node that is gone has left everything.
            let _ = registry.pubsub_unsubscribe(topic).await;
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let (registry, topics, topic) = (self.registry.clone(), self.topics.clone(), self.topic.clone());
        tokio::spawn(async move { topics.leave(&registry, topic).await });
    }
}
