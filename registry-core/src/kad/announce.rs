//! What this node announces again and again: its own values, and itself as provider (K25).

use alloc::collections::BTreeMap;

use bytes::Bytes;

use crate::cx::Cx;
use crate::kad::lookup::Lookup;
use crate::kad::query::Work;
use crate::kad::server::own_record;
use crate::kad::validator::validate;
use crate::kad::values::{Store, expiry};
use crate::kad::{Kad, Timer, around, message};
use crate::time::Duration;
use crate::wire::Message;
use crate::wire::kad::{KadKind, KadMessage};

/// An announcement that reached nobody is tried again after this.
const RETRY: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    Value,
    Provider,
}

/// Keys, numbered so that a timer can name them.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    numbers: BTreeMap<(Kind, Bytes), u64>,
    keys: BTreeMap<u64, (Kind, Bytes)>,
    next: u64,
}

impl Announcements {
    pub(super) fn add(&mut self, kind: Kind, key: Bytes) {
        let next = &mut self.next;
        let number = *self.numbers.entry((kind, key.clone())).or_insert_with(|| {
            *next += 1;
            *next
        });
        self.keys.insert(number, (kind, key));
    }

    pub(super) fn remove(&mut self, kind: Kind, key: &[u8]) -> Option<u64> {
        let number = self.numbers.remove(&(kind, Bytes::copy_from_slice(key)))?;
        self.keys.remove(&number);
        Some(number)
    }

    pub(super) fn contains(&self, kind: Kind, key: &Bytes) -> bool {
        self.number(kind, key).is_some()
    }

    fn number(&self, kind: Kind, key: &Bytes) -> Option<u64> {
        self.numbers.get(&(kind, key.clone())).copied()
    }
}

impl Kad {
    /// An announcement reached so many servers: when is the next one?
    pub(super) fn announced(&mut self, cx: &mut Cx<'_>, kind: Kind, key: &Bytes, reached: u32) {
        let Some(number) = self.announcements.number(kind, key) else { return };
        let interval = match (reached, kind) {
            (0, _) => cx.rng.jitter(RETRY),
            (_, Kind::Value) => around(cx, cx.config.kad.record_republish),
            (_, Kind::Provider) => around(cx, cx.config.kad.provider_republish),
        };
        self.timers.set(Timer::Announce(number), cx.now + interval);
    }

    pub(super) fn announce_again(&mut self, cx: &mut Cx<'_>, number: u64) {
        let Some((kind, key)) = self.announcements.keys.get(&number).cloned() else { return };
        let work = match kind {
            Kind::Provider => Work::Provide { tell: false },
            Kind::Value => match self.renew_own(cx, &key) {
                Some(value) => Work::Put(Store::new(value, false)),
                None => {
                    self.announcements.remove(kind, &key);
                    return;
                }
            },
        };
        let query = self.queries.new_id();
        self.begin(cx, query, key, work);
    }

    /// Lets an own value live on; `None` when it has expired by its own word, or somebody's better one has taken its place.
    fn renew_own(&mut self, cx: &Cx<'_>, key: &Bytes) -> Option<Bytes> {
        let value = self.records.own(key)?.clone();
        let lifetime = validate(&cx.config.kad, cx.unix, key, &value).ok()?.lifetime;
        self.records.renew(key, expiry(cx, lifetime));
        Some(value)
    }

    /// Tells the closest servers that this node provides the key.
    pub(super) fn tell_provider(&mut self, cx: &mut Cx<'_>, key: &Bytes, lookup: &Lookup) -> u32 {
        if !self.announcements.contains(Kind::Provider, key) {
            return 0;
        }
        let own = [own_record(cx)].into();
        let msg = Message::from(KadMessage { providers: own, ..message(KadKind::AddProvider, key.clone()) });
        let mut sent = 0;
        for peer in lookup.closest() {
            cx.notify(peer, msg.clone());
            sent += 1;
        }
        self.announced(cx, Kind::Provider, key, sent);
        sent
    }
}
