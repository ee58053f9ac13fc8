//! What calls of the core cost: none should be slow, and this keeps count.

use std::time::{Duration, Instant};

use cpu_time::ThreadTime;

/// A call over this is slow: whoever waits for the loop would feel it.
const SLOW: Duration = Duration::from_millis(10);

/// Calls of the core since the start, in processor time of the loop's thread, so that a busy machine does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Calls {
    /// All calls.
    pub total: u64,
    /// Those over 10 ms.
    pub slow: u64,
    /// What the longest took.
    pub longest: Duration,
    /// The name of its input or command; empty before the first call.
    pub longest_in: &'static str,
}

impl Calls {
    /// Runs and counts a call. Processor time takes a system call to read, and is not longer than the clock's: it is read
    /// only when that says that it could matter.
    pub(crate) fn run<T>(&mut self, name: &'static str, call: impl FnOnce() -> T) -> T {
        let (clock, started) = (Instant::now(), ThreadTime::now());
        let result = call();
        let clock = clock.elapsed();
        self.note(name, if clock > self.longest.min(SLOW) { started.elapsed() } else { clock });
        result
    }

    fn note(&mut self, name: &'static str, took: Duration) {
        self.total += 1;
        self.slow += u64::from(took > SLOW);
        if took > self.longest {
            (self.longest, self.longest_in) = (took, name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_and_the_slow_are_kept() {
        let mut calls = Calls::default();
        for (name, millis) in [("a", 1), ("b", 30), ("c", 10), ("d", 11)] {
            calls.note(name, Duration::from_millis(millis));
        }
        let longest = Duration::from_millis(30);
        assert_eq!(calls, Calls { total: 4, slow: 2, longest, longest_in: "b" });
    }

    #[test]
    fn work_counts_and_waiting_does_not() {
        let mut calls = Calls::default();
        calls.run("wait", || std::thread::sleep(Duration::from_millis(30)));
        assert_eq!((calls.total, calls.slow), (1, 0));
        calls.run("work", || {
            let started = ThreadTime::now();
            while started.elapsed() <= SLOW {}
        });
        assert_eq!((calls.slow, calls.longest_in), (1, "work"));
    }
}
