//! Long work with files, on threads of its own, which the node's shutdown waits for.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::channel::{mpsc, oneshot};

use crate::error::Error;

/// Tells a job that nobody waits for it any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    node: Arc<AtomicBool>,
    caller: Arc<AtomicBool>,
}

impl Stop {
    /// Should the job end now?
    pub(crate) fn is_set(&self) -> bool {
        self.node.load(Ordering::Relaxed) || self.caller.load(Ordering::Relaxed)
    }

    /// Asks the job to end soon.
    pub(crate) fn set(&self) {
        self.caller.store(true, Ordering::Relaxed);
    }
}

/// Sets a job's flag when its caller goes away.
struct Caller(Stop);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Starts jobs while the node runs.
#[derive(Clone, Debug)]
pub(crate) struct Jobs {
    alive: Arc<Mutex<Option<mpsc::Sender<std::convert::Infallible>>>>,
    stopping: Arc<AtomicBool>,
}

impl Jobs {
    /// A clone of `alive` lives in each job.
    pub(crate) fn new(alive: mpsc::Sender<std::convert::Infallible>) -> Self {
        Self { alive: Arc::new(Mutex::new(Some(alive))), stopping: Arc::default() }
    }

    /// Runs a job. Dropping the future stops it soon.
    pub(crate) async fn run<T, E>(&self, job: impl FnOnce(&Stop) -> Result<T, E> + Send + 'static) -> Result<T, Error>
    where
        T: Send + 'static,
        E: Into<Error> + Send + 'static,
    {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Error::NotRunning)?;
        let stop = Stop { node: Arc::clone(&self.stopping), caller: Arc::default() };
        let _caller = Caller(stop.clone());
        let (done, result) = oneshot::channel();
        std::thread::Builder::new().name("wharf-job".into()).spawn(move || {
            // The caller may be gone.
            let _ = done.send(job(&stop));
            drop(alive);
        })?;
        result.await.map_err(|_| io::Error::other("a job ended without a result"))?.map_err(Into::into)
    }

    /// Stops the running jobs; new ones are refused.
    pub(crate) fn close(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
