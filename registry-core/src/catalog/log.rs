//! One publisher's log as this node holds it, and runs of entries on their way into it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::SignatureCheck;
use crate::catalog::cbor;
use crate::catalog::envelope::{Domain, Envelope, StatementError};
use crate::catalog::merkle::Tree;
use crate::catalog::quotas::Standing;
use crate::catalog::record::{HeadRecord, LogHead};
use crate::catalog::statement::{MAX_STATEMENT, Statement};
use crate::id::{Digest, PublisherId};

/// A statement on its way into a log: parsed, beside its encoded envelope.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) envelope: Bytes,
    pub(crate) digest: Digest,
    pub(crate) statement: Statement,
}

impl Entry {
    /// Parses an encoded envelope with a statement of this network.
    pub(crate) fn open(envelope: &Bytes, network: &str) -> Result<(Self, Envelope), StatementError> {
        let parsed = Envelope::decode(envelope, MAX_STATEMENT)?;
        let statement = Statement::from_body(&parsed.body, network)?;
        Ok((Self { envelope: envelope.clone(), digest: parsed.digest(), statement }, parsed))
    }

    pub(crate) fn position(&self) -> u64 {
        self.statement.position
    }
}

/// What a log keeps of an admitted entry: a catalogue holds many, and reads few of them again.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) envelope: Bytes,
    pub(crate) digest: Digest,
}

impl Kept {
    /// Parses the statement again, which was valid when it was admitted.
    pub(crate) fn statement(&self, network: &str) -> Option<Statement> {
        Entry::open(&self.envelope, network).ok().map(|(entry, _)| entry.statement)
    }
}

/// Two things a publisher signed that cannot both be: two statements at one position or of one version, or a head that
/// does not fit the statements it covers. Anybody can check it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Conflict(pub(crate) Bytes, pub(crate) Bytes);

impl Conflict {
    pub(crate) fn encode(&self) -> Bytes {
        cbor::encode(&(serde_bytes::Bytes::new(&self.0), serde_bytes::Bytes::new(&self.1)))
    }

    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, StatementError> {
        let (ours, theirs): (&serde_bytes::Bytes, &serde_bytes::Bytes) = cbor::decode(bytes)?;
        Ok(Self(bytes.slice_ref(ours), bytes.slice_ref(theirs)))
    }
}

/// Why a run cannot be appended to a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Unfit {
    /// Entries before it are missing here.
    Gap,
    /// It contradicts what is here.
    Conflict(Conflict),
}

/// A log: positions contiguous from 0, each entry linked to the one before it.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    publisher: PublisherId,
    /// May be ahead of the entries while a long log is being fetched; never behind.
    pub(crate) head: LogHead,
    pub(crate) conflict: Option<Box<Conflict>>,
    pub(crate) standing: Standing,
    entries: Vec<Kept>,
    /// Of all entries.
    bytes: usize,
    tree: Tree,
}

impl Log {
    pub(crate) fn new(publisher: PublisherId, head: LogHead, standing: Standing) -> Self {
        Self { publisher, head, conflict: None, standing, entries: Vec::new(), bytes: 0, tree: Tree::default() }
    }

    /// Bytes of head record and entries.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.saturating_add(self.head.record.len())
    }

    pub(crate) fn publisher(&self) -> PublisherId {
        self.publisher
    }

    pub(crate) fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(crate) fn entries(&self) -> &[Kept] {
        &self.entries
    }

    pub(crate) fn get(&self, position: u64) -> Option<&Kept> {
        usize::try_from(position).ok().and_then(|position| self.entries.get(position))
    }

    /// The digest the next entry links to: that of the last body, or of the inception's.
    pub(crate) fn tip(&self) -> Digest {
        self.entries.last().map_or(self.publisher.0, |entry| entry.digest)
    }

    /// Are all entries here that the head covers?
    pub(crate) fn is_complete(&self) -> bool {
        self.len() == self.head.length
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The statement here that this valid head says is another.
    pub(crate) fn contradicts(&self, record: &HeadRecord) -> Option<&Kept> {
        let last = record.head.length.checked_sub(1)?;
        self.get(last).filter(|entry| entry.digest != record.head.tip)
    }

    /// Could these valid entries under this valid head follow here? They lack nothing that is already here.
    pub(crate) fn check(&self, run: &Run) -> Result<(), Unfit> {
        if let Some(first) = run.entries.first()
            && let Some(ours) = self.get(first.position())
        {
            return Err(Unfit::Conflict(Conflict(ours.envelope.clone(), first.envelope.clone())));
        }
        if let Some(ours) = self.contradicts(&run.record) {
            return Err(Unfit::Conflict(Conflict(ours.envelope.clone(), run.record.bytes.clone())));
        }
        let Some(first) = run.entries.first() else { return self.check_root(run) };
        if first.position() != self.len() {
            return Err(Unfit::Gap);
        }
        if first.statement.previous != self.tip() {
            let ours = self.entries.last().map_or(&self.head.record, |entry| &entry.envelope);
            return Err(Unfit::Conflict(Conflict(ours.clone(), first.envelope.clone())));
        }
        self.check_root(run)
    }

    /// The root can be checked once all entries are here that the head covers.
    fn check_root(&self, run: &Run) -> Result<(), Unfit> {
        if self.len() + run.entries.len() as u64 != run.record.head.length {
            return Ok(());
        }
        if self.root_with(&run.entries) != run.record.head.root {
            let kept = self.entries.last().map(|entry| &entry.envelope);
            let last = run.entries.last().map(|entry| &entry.envelope).or(kept);
            let last = last.cloned().unwrap_or_default();
            return Err(Unfit::Conflict(Conflict(run.record.bytes.clone(), last)));
        }
        Ok(())
    }

    fn root_with(&self, entries: &[Entry]) -> Digest {
        let mut tree = self.tree.clone();
        entries.iter().for_each(|entry| tree.push(&entry.digest.0));
        tree.root()
    }

    /// Is this the next entry below the head? For rows of the store, whose signatures were checked before.
    pub(crate) fn continues(&self, entry: &Entry) -> bool {
        let Statement { publisher, position, previous, .. } = entry.statement;
        let below_head = || {
            self.len() + 1 < self.head.length
                || HeadRecord::open(&self.head.record).is_ok_and(|(HeadRecord { head, .. }, _)| {
                    (head.length, head.tip) == (self.len() + 1, entry.digest)
                        && head.root == self.root_with(core::slice::from_ref(entry))
                })
        };
        (publisher, position, previous) == (self.publisher, self.len(), self.tip()) && below_head()
    }

    /// Appends an entry that was checked.
    pub(crate) fn push(&mut self, entry: Kept) {
        self.bytes = self.bytes.saturating_add(entry.envelope.len());
        self.tree.push(&entry.digest.0);
        // Most logs are short, and a node holds many: room is made by quarters.
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(1 + self.entries.len() / 4);
        }
        self.entries.push(entry);
    }
}

/// Consecutive entries of one log below a head, linked to each other; those already held here left out.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) record: HeadRecord,
    pub(crate) entries: Vec<Entry>,
}

/// What must be verified before a run may be believed.
pub(crate) type Checks = Vec<SignatureCheck>;

impl Run {
    /// Parses the statements that stand at `from` and after it under the record's head. What `log` already holds byte
    /// for byte is not parsed, linked or verified again.
    pub(crate) fn open(
        network: &str,
        record: (HeadRecord, Checks),
        log: Option<&Log>,
        from: u64,
        statements: &[Bytes],
    ) -> Result<(Self, Checks), StatementError> {
        let (record, mut checks) = record;
        let head = &record.head;
        let end = from.checked_add(statements.len() as u64).ok_or(StatementError::Link)?;
        if head.network != network {
            return Err(StatementError::Network);
        }
        if end > head.length {
            return Err(StatementError::Link);
        }
        if log.is_some_and(|log| log.head.record == record.bytes) {
            checks.clear();
        }
        let mut entries: Vec<Entry> = Vec::new();
        for (position, encoded) in (from..).zip(statements) {
            let held = log.and_then(|log| log.get(position));
            if entries.is_empty() && held.is_some_and(|held| held.envelope == encoded) {
                continue;
            }
            let (entry, envelope) = Entry::open(encoded, network)?;
            let statement = &entry.statement;
            let linked = entries.last().is_none_or(|last| statement.previous == last.digest);
            let at_tip = position + 1 == head.length;
            if statement.publisher != head.publisher {
                return Err(StatementError::Publisher);
            }
            if statement.position != position || !linked || at_tip && entry.digest != head.tip {
                return Err(StatementError::Link);
            }
            // Whoever lacks the entry will check these signatures, and blame who has passed them on.
            checks.extend(envelope.checks(Domain::Statement, &record.inception)?);
            if !(entries.is_empty() && held.is_some_and(|held| held.digest == entry.digest)) {
                entries.push(entry);
            }
        }
        Ok((Self { record, entries }, checks))
    }

    pub(crate) fn publisher(&self) -> PublisherId {
        self.record.head.publisher
    }

    /// Bytes held by it.
    pub(crate) fn size(&self) -> usize {
        self.record.bytes.len() + self.entries.iter().map(|entry| entry.envelope.len()).sum::<usize>()
    }

    /// Leaves out what the log has come to hold since the run was opened.
    pub(crate) fn trim(&mut self, log: &Log) {
        let held = |entry: &&Entry| log.get(entry.position()).is_some_and(|held| held.digest == entry.digest);
        let known = self.entries.iter().take_while(held).count();
        self.entries.drain(..known);
    }
}
