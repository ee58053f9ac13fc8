//! A publisher's log outside any node.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::catalog::announcement::Announcement;
use crate::catalog::envelope::{Envelope, SIGNATURE_LEN, signing_input};
use crate::catalog::merkle::Tree;
use crate::catalog::record::HeadRecord;
use crate::catalog::{
    Amendment, Change, Content, Domain, Head, LocalPublisher, Name, NewRelease, Says, Scheme, Statement, Version,
};
use crate::id::{BlockId, Codec, Digest, PublisherId};
use crate::time::{Duration, UnixTime};

/// A small, valid release.
pub(crate) fn release(name: &str, version: &str) -> NewRelease {
    let root = BlockId { digest: Digest::of(name.as_bytes()), codec: Codec::DagPb };
    let name = Name::new(name).expect("a valid name");
    let version = Version::new(version, Scheme::Semver).expect("a valid version");
    NewRelease {
        summary: "a thing".into(),
        keywords: vec!["thing".into()],
        licence: "MIT".into(),
        ..NewRelease::new(name, version, Content::Root { root, size: 1000 })
    }
}

/// A word on a version of a package, or on all of it.
pub(crate) fn amendment(name: &str, version: Option<&str>, change: Change) -> Says {
    let name = Name::new(name).expect("a valid name");
    Says::Amendment(Amendment { name, version: version.map(Into::into), change })
}

type Sign = Box<dyn Fn(&[u8]) -> Bytes>;

/// Writes statements, heads and announcements of the network `test`, valid or not.
pub(crate) struct Author {
    pub(crate) publisher: LocalPublisher,
    sign: Sign,
    /// Encoded envelopes, by position.
    pub(crate) statements: Vec<Bytes>,
    tips: Vec<Digest>,
}

impl Author {
    pub(crate) fn new(publisher: LocalPublisher, sign: impl Fn(&[u8]) -> Bytes + 'static) -> Self {
        let tips = vec![publisher.id.0];
        Self { publisher, sign: Box::new(sign), statements: Vec::new(), tips }
    }

    /// One whose signatures are good for whoever does not check them.
    pub(crate) fn unsigned(seed: u8) -> Self {
        let publisher = LocalPublisher::new([seed; 32], Digest::of(&[seed]), [seed; SIGNATURE_LEN]);
        Self::new(publisher, |_| Bytes::from_static(&[0; SIGNATURE_LEN]))
    }

    pub(crate) fn id(&self) -> PublisherId {
        self.publisher.id
    }

    pub(crate) fn len(&self) -> u64 {
        self.statements.len() as u64
    }

    fn tip(&self) -> Digest {
        self.tips.last().copied().unwrap_or(self.publisher.id.0)
    }

    pub(crate) fn envelope(&self, domain: Domain, body: Bytes) -> Bytes {
        let signature = (self.sign)(&signing_input(domain, &body));
        Envelope { body, signatures: vec![(0, signature)] }.encode()
    }

    /// The statement at the end of the log.
    pub(crate) fn next(&self, says: impl Into<Says>) -> Statement {
        let (publisher, position, previous) = (self.id(), self.len(), self.tip());
        Statement { publisher, position, previous, says: says.into() }
    }

    pub(crate) fn append_body(&mut self, body: Bytes) {
        self.tips.push(Digest::of(&body));
        self.statements.push(self.envelope(Domain::Statement, body));
    }

    #[cfg(test)]
    pub(crate) fn append(&mut self, name: &str, version: &str) -> &mut Self {
        self.say(release(name, version))
    }

    pub(crate) fn say(&mut self, says: impl Into<Says>) -> &mut Self {
        self.append_body(self.next(says).to_body("test"));
        self
    }

    /// Takes back the last statement.
    pub(crate) fn retract(&mut self) {
        if self.statements.pop().is_some() {
            self.tips.pop();
        }
    }

    /// A head of the whole log, signed `secs` after 1970 and valid for an hour.
    pub(crate) fn head(&self, secs: u64) -> Head {
        let mut tree = Tree::default();
        self.tips.iter().skip(1).for_each(|tip| tree.push(&tip.0));
        let time = UnixTime::from_secs(secs);
        Head {
            network: "test".into(),
            publisher: self.id(),
            length: self.len(),
            tip: self.tip(),
            root: tree.root(),
            time,
            expiry: time + Duration::from_secs(3600),
        }
    }

    pub(crate) fn record_of(&self, head: &Head) -> Bytes {
        HeadRecord::encode(&self.publisher.inception, &self.envelope(Domain::Head, head.to_body()))
    }

    /// The record of the whole log.
    pub(crate) fn record(&self) -> Bytes {
        self.record_of(&self.head(1_700_000_000))
    }

    /// The announcement of the last `count` statements.
    pub(crate) fn announcement(&self, count: usize) -> Bytes {
        let from = self.statements.len().saturating_sub(count);
        Announcement { record: self.record(), statements: self.statements[from..].to_vec() }.encode()
    }
}
