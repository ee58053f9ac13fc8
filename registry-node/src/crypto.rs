//! Signature checks, signing, hashing and merging of the search index, on threads of their own.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::{SinkExt, executor};
use libp2p_identity::{Keypair, PublicKey, ed25519};
use registry_core::action::{SignatureCheck, SigningKey};
use registry_core::id::JobId;
use registry_core::search::{Part, Segment};
use registry_core::{Digest, Input};

/// More threads than this gain nothing: a node verifies some thousand signatures per second on one.
const MAX_THREADS: usize = 4;

/// The private keys of a node.
#[derive(Clone, Debug)]
pub struct SigningKeys {
    /// The libp2p identity.
    pub node: Keypair,
    /// The local publisher's present key.
    pub publisher: Option<ed25519::Keypair>,
}

impl SigningKeys {
    fn sign(&self, key: SigningKey, bytes: &[u8]) -> Option<Bytes> {
        match key {
            SigningKey::Node => self.node.sign(bytes).ok().map(Bytes::from),
            SigningKey::Publisher => self.publisher.as_ref().map(|keypair| keypair.sign(bytes).into()),
        }
    }
}

/// Work for the threads.
#[derive(Clone, Debug)]
pub enum CryptoJob {
    /// Answered by [`Input::Verified`].
    Verify {
        /// Comes back in the answer.
        job: JobId,
        /// All must hold.
        checks: Vec<SignatureCheck>,
    },
    /// Answered by [`Input::Signed`].
    Sign {
        /// Comes back in the answer.
        job: JobId,
        /// Which key.
        key: SigningKey,
        /// What to sign.
        bytes: Bytes,
    },
    /// Answered by [`Input::Merged`].
    Merge {
        /// Comes back in the answer.
        job: JobId,
        /// What to merge.
        parts: Vec<Part>,
    },
    /// Answered by [`Input::Hashed`].
    Hash {
        /// Comes back in the answer.
        job: JobId,
        /// What to hash.
        data: Bytes,
    },
}

impl CryptoJob {
    fn run(self, keys: &SigningKeys) -> Input {
        match self {
            Self::Verify { job, checks } => Input::Verified { job, ok: checks.iter().all(holds) },
            Self::Sign { job, key, bytes } => Input::Signed { job, signature: keys.sign(key, &bytes) },
            Self::Merge { job, parts } => Input::Merged { job, segment: Box::new(Segment::merge(&parts)) },
            Self::Hash { job, data } => Input::Hashed { job, digest: Digest::of(&data) },
        }
    }
}

fn holds(check: &SignatureCheck) -> bool {
    PublicKey::try_decode_protobuf(&check.key).is_ok_and(|key| key.verify(&check.message, &check.signature))
}

/// Jobs that wait for a thread: each wakes one, and none while the threads are busy.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<CryptoJob>,
    closed: bool,
}

impl Queue {
    fn change(&self, change: impl FnOnce(&mut Waiting)) {
        change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn close(&self) {
        self.change(|waiting| waiting.closed = true);
        self.filled.notify_all();
    }

    /// The next job; `None` when it is closed and empty.
    fn take(&self) -> Option<CryptoJob> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |waiting: &mut Waiting| waiting.jobs.is_empty() && !waiting.closed;
        self.filled.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner).jobs.pop_front()
    }
}

/// The running threads.
#[derive(Debug)]
pub struct CryptoThreads {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

impl CryptoThreads {
    /// Starts the threads; answers go to `replies` in any order.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(keys: SigningKeys, replies: &mpsc::Sender<Input>) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let keys = Arc::new(keys);
        let count = std::thread::available_parallelism().map_or(1, |n| n.get().min(MAX_THREADS));
        let threads = (0..count)
            .map(|n| {
                let (queue, keys, replies) = (Arc::clone(&queue), Arc::clone(&keys), replies.clone());
                std::thread::Builder::new()
                    .name(format!("wharf-crypto-{n}"))
                    .spawn(move || work(&queue, &keys, replies))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { queue, threads })
    }

    /// Queues a job.
    pub fn submit(&self, job: CryptoJob) {
        self.queue.change(|waiting| waiting.jobs.push_back(job));
        self.queue.filled.notify_one();
    }

    /// Takes no further jobs and waits for the threads. The receiver of the replies must be drained or dropped meanwhile.
    pub fn close(&mut self) {
        self.queue.close();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for CryptoThreads {
    fn drop(&mut self) {
        self.queue.close();
    }
}

fn work(queue: &Queue, keys: &SigningKeys, mut replies: mpsc::Sender<Input>) {
    while let Some(job) = queue.take() {
        if executor::block_on(replies.send(job.run(keys))).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;

    fn check(keypair: &Keypair, message: &[u8]) -> SignatureCheck {
        SignatureCheck {
            key: keypair.public().encode_protobuf().into(),
            message: Bytes::copy_from_slice(message),
            signature: keypair.sign(message).unwrap().into(),
        }
    }

    #[test]
    fn every_job_is_answered_and_a_wrong_signature_does_not_hold() {
        let node = Keypair::generate_ed25519();
        let keys = SigningKeys { node: node.clone(), publisher: None };
        let (sender, replies) = mpsc::channel(1);
        let mut threads = CryptoThreads::start(keys, &sender).unwrap();
        drop(sender);
        let good = check(&node, b"x");
        let bad = SignatureCheck { message: Bytes::from_static(b"y"), ..good.clone() };
        let garbage = SignatureCheck { key: Bytes::from_static(b"no key"), ..good.clone() };
        threads.submit(CryptoJob::Verify { job: JobId(0), checks: vec![good.clone(), good.clone()] });
        threads.submit(CryptoJob::Verify { job: JobId(1), checks: vec![good.clone(), bad] });
        threads.submit(CryptoJob::Verify { job: JobId(2), checks: vec![garbage] });
        threads.submit(CryptoJob::Sign { job: JobId(3), key: SigningKey::Node, bytes: Bytes::from_static(b"x") });
        threads.submit(CryptoJob::Sign { job: JobId(4), key: SigningKey::Publisher, bytes: Bytes::from_static(b"x") });
        threads.submit(CryptoJob::Hash { job: JobId(5), data: Bytes::from_static(b"x") });
        let answers = executor::block_on(replies.take(6).collect::<Vec<_>>());
        threads.close();
        let mut seen = Vec::new();
        for answer in answers {
            match answer {
                Input::Verified { job, ok } => {
                    assert_eq!(ok, job == JobId(0));
                    seen.push(job.0);
                }
                Input::Signed { job, signature } => {
                    assert_eq!(signature, (job == JobId(3)).then(|| good.signature.clone()));
                    seen.push(job.0);
                }
                Input::Hashed { job, digest } => {
                    assert_eq!(digest, Digest::of(b"x"));
                    seen.push(job.0);
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
    }
}
