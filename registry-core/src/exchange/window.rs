//! One provider as the client sees it: what it was asked, how quickly it answers, how much more it may be asked.
//!
//! The window is steered by delay: it grows by one with each block that came within [`PROMPT`] while the window was
//! full, and shrinks by one with each that took more than [`SLUGGISH`]. So a link of any speed has about a second of
//! work queued, and never fewer than two blocks: the next one is already asked for while one is on its way.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::config::ExchangeConfig;
use crate::id::BlockId;
use crate::time::{Duration, Instant, micros};

/// Blocks asked of one peer at once. More would bring no speed: 32 MiB is in flight in all.
const MAX_WINDOW: usize = 32;
/// A healthy link always has the next block queued behind the present one.
const MIN_WINDOW: usize = 2;
const PROMPT: Duration = Duration::from_secs(1);
const SLUGGISH: Duration = Duration::from_secs(2);
/// Patience is never shorter: a disk may pause for that long (RFC 6298 has the same floor for TCP).
const MIN_PATIENCE: Duration = Duration::from_secs(1);
/// A link that failed and has nothing left to do is left alone for `REST`, doubled with each failure.
const REST: Duration = Duration::from_secs(1);
const MAX_REST: Duration = Duration::from_secs(30);
/// Doublings of patience and rest.
const MAX_DOUBLINGS: u32 = 5;
/// Blocks asked for once that may still come although they are no longer waited for.
const MAX_SPARE: usize = 64;
/// Others, asked for before those: while a slow peer's answers are on their way, a quick one may bring so many in its
/// place. They do not count as expected.
const MAX_LATE: usize = 1024;
/// Copies of one such block: as often as a stalled peer is asked again within two minutes.
const MAX_COPIES: usize = 8;
/// Blocks that came, by which a copy of one is told from a block with wrong bytes: twice what can be under way.
const MAX_CAME: usize = 2 * MAX_WINDOW;
/// A rate is measured over at least this.
const METER: Duration = Duration::from_millis(100);

/// Blocks of at least this length are timed by themselves: the rate of the link matters more than its delay.
const LONG: u64 = 64 * 1024;

#[derive(Clone, Copy, Debug)]
struct Ask {
    id: BlockId,
    at: Instant,
    is_long: bool,
}

/// Time between answers while asked, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// EWMA (1/8).
    mean: u64,
    /// EWMA (1/4) of the distance from the mean.
    deviation: u64,
}

impl Pace {
    fn with(old: Option<Self>, sample: u64) -> Self {
        match old {
            None => Self { mean: sample, deviation: sample / 2 },
            Some(Self { mean, deviation }) => Self {
                mean: mean - mean / 8 + sample / 8,
                deviation: deviation - deviation / 4 + mean.abs_diff(sample) / 4,
            },
        }
    }
}

/// What became of a verified block at the link it came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Claim {
    /// It was waited for, so long.
    Asked(Duration),
    /// It had been asked for, but was cancelled or asked twice.
    Spare,
    /// It has come before, as often as it was asked for.
    Copy,
    /// It was never asked of this peer, or long ago.
    Unasked,
}

#[derive(Debug)]
pub(super) struct Link {
    /// Oldest first.
    asks: Vec<Ask>,
    spare: VecDeque<BlockId>,
    /// Have given way to newer ones in `spare`.
    late: VecDeque<BlockId>,
    /// Asked for, and come.
    came: VecDeque<BlockId>,
    /// Blocks received and not yet judged.
    pub(super) judging: usize,
    /// Connected.
    pub(super) up: bool,
    window: usize,
    strikes: u32,
    quiet_since: Instant,
    resting_until: Option<Instant>,
    /// Of short and of long blocks.
    paces: [Option<Pace>; 2],
    metered_since: Instant,
    metered_bytes: u64,
}

impl Link {
    pub(super) fn new(now: Instant, config: &ExchangeConfig) -> Self {
        Self {
            asks: Vec::new(),
            spare: VecDeque::new(),
            late: VecDeque::new(),
            came: VecDeque::new(),
            judging: 0,
            up: true,
            window: config.window.clamp(MIN_WINDOW, MAX_WINDOW),
            strikes: 0,
            quiet_since: now,
            resting_until: None,
            paces: [None; 2],
            metered_since: now,
            metered_bytes: 0,
        }
    }

    pub(super) fn load(&self) -> usize {
        self.asks.len()
    }

    /// How often it was late since its last answer.
    pub(super) fn strikes(&self) -> u32 {
        self.strikes
    }

    pub(super) fn has_room(&self) -> bool {
        self.asks.len() < self.window
    }

    pub(super) fn is_resting(&self, now: Instant) -> bool {
        self.resting_until.is_some_and(|until| until > now)
    }

    pub(super) fn rest_ends(&self) -> Option<Instant> {
        self.resting_until
    }

    pub(super) fn asked(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.asks.iter().map(|ask| ask.id)
    }

    /// What may still come.
    pub(super) fn possible(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.asked().chain(self.spare.iter().copied())
    }

    /// How many blocks may still come: more are not even hashed.
    pub(super) fn expected(&self) -> usize {
        self.asks.len() + self.spare.len()
    }

    /// `len` is the block's expected length.
    pub(super) fn ask(&mut self, now: Instant, id: BlockId, len: u64) {
        if !self.waits() {
            self.quiet_since = now;
        }
        if self.asks.is_empty() {
            (self.metered_since, self.metered_bytes) = (now, 0);
        }
        self.asks.push(Ask { id, at: now, is_long: len >= LONG });
    }

    /// The block is not waited for any more, but may come all the same. True when it was waited for.
    pub(super) fn withdraw(&mut self, now: Instant, id: BlockId) -> bool {
        let was_asked = self.remove(id).is_some();
        if was_asked {
            self.forgive(id);
            if self.asks.is_empty() && self.strikes > 0 {
                self.resting_until = Some(now + doubled(REST, self.strikes).min(MAX_REST));
            }
        }
        was_asked
    }

    /// Lets one more copy of the block come.
    pub(super) fn forgive(&mut self, id: BlockId) {
        if self.spare.iter().filter(|spare| **spare == id).count() >= MAX_COPIES {
            return;
        }
        if self.spare.len() == MAX_SPARE
            && let Some(oldest) = self.spare.pop_front()
        {
            push_bounded(&mut self.late, MAX_LATE, oldest);
        }
        self.spare.push_back(id);
    }

    /// The peer says it has no such block; a want that is heard twice may bring it yet. True when it was waited for.
    pub(super) fn refused(&mut self, now: Instant, id: BlockId) -> bool {
        self.answered(now);
        let was_asked = self.remove(id).is_some();
        if was_asked {
            self.forgive(id);
        }
        was_asked
    }

    /// Something of this length that may be a block has come, to be judged.
    pub(super) fn received(&mut self, now: Instant, len: u64) {
        self.judging += 1;
        let sample = micros(now.since(self.quiet_since));
        let pace = &mut self.paces[usize::from(len >= LONG)];
        *pace = Some(Pace::with(*pace, sample));
        self.quiet_since = now;
    }

    /// A block received at `at` turned out to be what its hash says.
    pub(super) fn claim(&mut self, at: Instant, id: BlockId) -> Claim {
        let was_full = !self.has_room();
        if let Some(ask) = self.remove(id) {
            let latency = at.since(ask.at);
            self.answered(at);
            if latency > SLUGGISH {
                self.window = self.window.saturating_sub(1).max(MIN_WINDOW);
            } else if latency < PROMPT && was_full {
                self.window = (self.window + 1).min(MAX_WINDOW);
            }
            self.has_come(id);
            return Claim::Asked(latency);
        }
        if remove_first(&mut self.spare, id) || remove_first(&mut self.late, id) {
            self.answered(at);
            self.has_come(id);
            return Claim::Spare;
        }
        if self.came.contains(&id) { Claim::Copy } else { Claim::Unasked }
    }

    fn has_come(&mut self, id: BlockId) {
        push_bounded(&mut self.came, MAX_CAME, id);
    }

    /// Counts verified bytes; returns their rate now and then, in bytes per second.
    pub(super) fn meter(&mut self, at: Instant, bytes: u64) -> Option<u64> {
        self.metered_bytes = self.metered_bytes.saturating_add(bytes);
        let elapsed = at.since(self.metered_since);
        if elapsed < METER && !(self.asks.is_empty() && elapsed > Duration::ZERO) {
            return None;
        }
        let rate = u128::from(self.metered_bytes) * 1_000_000 / u128::from(micros(elapsed).max(1));
        (self.metered_since, self.metered_bytes) = (at, 0);
        Some(u64::try_from(rate).unwrap_or(u64::MAX))
    }

    /// Is something asked for that has not come yet?
    fn waits(&self) -> bool {
        self.asks.len() > self.judging
    }

    /// When patience runs out.
    pub(super) fn deadline(&self, config: &ExchangeConfig) -> Option<Instant> {
        self.waits().then(|| self.quiet_since + doubled(self.patience(config), self.strikes))
    }

    /// Patience has run out. Returns what should be withdrawn because it exceeds the halved window, and whether the
    /// rest should be asked again (a want or its answer may be lost).
    pub(super) fn strike(&mut self, now: Instant) -> (Vec<BlockId>, bool) {
        self.strikes = self.strikes.saturating_add(1);
        self.quiet_since = now;
        self.window = (self.window / 2).max(1);
        let excess = self.asks.iter().skip(self.window).map(|ask| ask.id).collect();
        (excess, self.strikes > 1)
    }

    /// How long a long block takes on this link, in microseconds; a guess before the first.
    pub(super) fn usual_wait(&self, config: &ExchangeConfig) -> u64 {
        self.paces[1].map_or(micros(config.block_timeout) / 4, |pace| pace.mean)
    }

    /// How long the block at the end of this link's queue will still take, in microseconds.
    pub(super) fn wait_for_last(&self, config: &ExchangeConfig) -> u64 {
        let turns = (self.asks.len() as u64).saturating_mul(u64::from(self.strikes) + 1);
        self.usual_wait(config).saturating_mul(turns)
    }

    /// The block that was asked last.
    pub(super) fn last(&self) -> Option<BlockId> {
        self.asks.last().map(|ask| ask.id)
    }

    /// The connection is gone: nothing is waited for. What was received before is still to be judged.
    pub(super) fn take_down(&mut self) -> Vec<BlockId> {
        self.up = false;
        let asks: Vec<_> = self.asks.drain(..).map(|ask| ask.id).collect();
        asks.iter().for_each(|id| self.forgive(*id));
        asks
    }

    fn remove(&mut self, id: BlockId) -> Option<Ask> {
        let index = self.asks.iter().position(|ask| ask.id == id)?;
        Some(self.asks.remove(index))
    }

    fn answered(&mut self, now: Instant) {
        self.strikes = 0;
        self.resting_until = None;
        self.quiet_since = now.max(self.quiet_since);
        self.window = self.window.max(MIN_WINDOW);
    }

    /// Twice the usual time between answers, with its variation (as TCP's retransmission timeout).
    fn patience(&self, config: &ExchangeConfig) -> Duration {
        let is_long = self.asks.iter().any(|ask| ask.is_long);
        match self.paces[usize::from(is_long)] {
            None => config.block_timeout / 2,
            Some(Pace { mean, deviation }) => {
                let usual = mean.saturating_add(deviation.saturating_mul(2)).saturating_mul(2);
                Duration::from_micros(usual).max(MIN_PATIENCE).min(config.block_timeout)
            }
        }
        .max(Duration::from_millis(1))
    }
}

/// The oldest one makes room.
fn push_bounded(list: &mut VecDeque<BlockId>, max: usize, id: BlockId) {
    if list.len() == max {
        list.pop_front();
    }
    list.push_back(id);
}

/// True when it was there.
fn remove_first(list: &mut VecDeque<BlockId>, id: BlockId) -> bool {
    let index = list.iter().position(|other| *other == id);
    index.and_then(|index| list.remove(index)).is_some()
}

fn doubled(duration: Duration, times: u32) -> Duration {
    duration.saturating_mul(1 << times.min(MAX_DOUBLINGS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Codec, Digest};

    fn id(n: u8) -> BlockId {
        BlockId { digest: Digest([n; 32]), codec: Codec::Raw }
    }

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn deliver(link: &mut Link, now: Instant, n: u8) -> Claim {
        link.received(now, 10);
        link.judging -= 1;
        link.claim(now, id(n))
    }

    #[test]
    fn a_quick_link_gets_a_wide_window_and_a_slow_one_two_blocks() {
        let config = ExchangeConfig::default();
        let mut quick = Link::new(at(0), &config);
        let mut slow = Link::new(at(0), &config);
        for (link, millis) in [(&mut quick, 10), (&mut slow, 1000)] {
            let mut now = 0;
            let mut next = 0u8;
            while link.has_room() {
                link.ask(at(now), id(next), 1 << 20);
                next = next.wrapping_add(1);
            }
            for _ in 0..100 {
                now += millis;
                let first = link.asked().next().unwrap();
                link.received(at(now), 1 << 20);
                link.judging -= 1;
                assert!(matches!(link.claim(at(now), first), Claim::Asked(_)));
                while link.has_room() {
                    link.ask(at(now), id(next), 1 << 20);
                    next = next.wrapping_add(1);
                }
            }
        }
        assert_eq!((quick.window, slow.window), (MAX_WINDOW, MIN_WINDOW));
    }

    #[test]
    fn patience_adapts_and_doubles() {
        let config = ExchangeConfig::default();
        let mut link = Link::new(at(0), &config);
        assert_eq!(link.deadline(&config), None);
        for n in 0..4 {
            link.ask(at(0), id(n), 10);
        }
        assert_eq!(link.deadline(&config), Some(at(2500)));
        assert!(matches!(deliver(&mut link, at(20), 0), Claim::Asked(_)));
        assert_eq!(link.deadline(&config), Some(at(1020)));
        let (excess, again) = link.strike(at(1020));
        assert_eq!((excess.as_slice(), again), (&[id(3)][..], false));
        assert!(link.withdraw(at(1020), id(3)));
        assert_eq!(link.deadline(&config), Some(at(3020)));
        let (excess, again) = link.strike(at(3020));
        assert_eq!((excess.as_slice(), again), (&[id(2)][..], true));
        assert_eq!(deliver(&mut link, at(3100), 3), Claim::Spare);
        assert_eq!(deliver(&mut link, at(3100), 9), Claim::Unasked);
        assert_eq!(link.window, MIN_WINDOW);
    }

    #[test]
    fn a_peer_that_was_asked_again_and_again_may_answer_each_time() {
        let config = ExchangeConfig::default();
        let mut link = Link::new(at(0), &config);
        link.ask(at(0), id(1), 10);
        let mut asked = 1;
        while let Some(due) = link.deadline(&config).filter(|due| *due < at(120_000)) {
            if link.strike(due).1 {
                link.forgive(id(1));
                asked += 1;
            }
        }
        assert!(asked > 3);
        assert!(matches!(deliver(&mut link, at(120_000), 1), Claim::Asked(_)));
        link.ask(at(120_000), id(2), 10);
        for _ in 1..asked {
            assert_eq!(deliver(&mut link, at(120_000), 1), Claim::Spare);
        }
        assert_eq!(deliver(&mut link, at(120_000), 1), Claim::Copy);
    }

    #[test]
    fn the_last_blocks_that_came_are_known_again() {
        let mut link = Link::new(at(0), &ExchangeConfig::default());
        for n in 0..=MAX_CAME as u8 {
            link.ask(at(0), id(n), 10);
            assert!(matches!(deliver(&mut link, at(0), n), Claim::Asked(_)));
        }
        assert_eq!(deliver(&mut link, at(0), 0), Claim::Unasked);
        assert_eq!(deliver(&mut link, at(0), 1), Claim::Copy);
    }

    #[test]
    fn a_failed_link_rests() {
        let config = ExchangeConfig::default();
        let mut link = Link::new(at(0), &config);
        link.ask(at(0), id(1), 10);
        link.strike(at(2500));
        link.strike(at(7500));
        assert!(link.withdraw(at(7600), id(1)));
        assert!(link.is_resting(at(11_000)) && !link.is_resting(at(11_600)));
    }
}
