//! What this node announces again and again: its own values, and itself as provider (K25).
//!
//! An announcement that found fewer than k servers may have been made in a part of a divided network: those who look
//! for it afterwards may ask others. It is repeated after a minute, then after two, four and so on up to the usual interval.

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

/// An announcement that reached nobody is tried again after this; one that found few servers, at first.
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
    keys: BTreeMap<u64, Own>,
    next: u64,
}

#[derive(Debug)]
struct Own {
    kind: Kind,
    key: Bytes,
    /// The next wait after an announcement that found few servers.
    pause: Duration,
}

impl Announcements {
    pub(super) fn add(&mut self, kind: Kind, key: Bytes) {
        let next = &mut self.next;
        let number = *self.numbers.entry((kind, key.clone())).or_insert_with(|| {
            *next += 1;
            *next
        });
        self.keys.insert(number, Own { kind, key, pause: RETRY });
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
    /// An announcement was sent to so many servers and reached so many: when is the next one?
    pub(super) fn announced(&mut self, cx: &mut Cx<'_>, kind: Kind, key: &Bytes, told: usize, reached: u32) {
        let Some(number) = self.announcements.number(kind, key) else { return };
        let Some(own) = self.announcements.keys.get_mut(&number) else { return };
        let usual = match kind {
            Kind::Value => cx.config.kad.record_republish,
            Kind::Provider => cx.config.kad.provider_republish,
        };
        let interval = match reached {
            0 => cx.rng.jitter(RETRY),
            _ if told < cx.config.kad.k => {
                let pause = own.pause.min(usual);
                own.pause = pause * 2;
                around(cx, pause)
            }
            _ => {
                own.pause = RETRY;
                around(cx, usual)
            }
        };
        self.timers.set(Timer::Announce(number), cx.now + interval);
    }

    pub(super) fn announce_again(&mut self, cx: &mut Cx<'_>, number: u64) {
        let Some(own) = self.announcements.keys.get(&number) else { return };
        let (kind, key) = (own.kind, own.key.clone());
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
        self.announced(cx, Kind::Provider, key, sent as usize, sent);
        sent
    }
}
