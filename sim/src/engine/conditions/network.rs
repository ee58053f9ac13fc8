//! What becomes of messages and dials.

use crate::engine::{NodeIx, Payload};
use crate::fault::{Access, Effect, Fault, Fired, Paths};
use crate::mix::{Domain, draw, scale};
use crate::net::Transport;
use crate::scenario::SECOND;

use super::{Conditions, Imposed, hit};

/// A line on which a message would wait longer than this drops it, in microseconds.
const LONGEST_QUEUE: u64 = 10 * SECOND;
/// A stream waits at least so long before it sends a message again; then twice as long, and so on. Microseconds.
const RETRANSMIT: u64 = 200_000;
/// Transmissions of one message before a stream gives up.
const TRANSMISSIONS: u64 = 6;
/// Quantiles of a lognormal distribution with sigma 0.1, in thousandths.
const LOGNORMAL: [u64; 64] = [
    785, 820, 838, 852, 863, 872, 880, 888, 895, 901, 907, 912, 918, 923, 928, 932, 937, 942, 946, 950, 954, 959, 963,
    967, 971, 975, 979, 982, 986, 990, 994, 998, 1002, 1006, 1010, 1014, 1018, 1022, 1026, 1030, 1035, 1039, 1043,
    1048, 1052, 1057, 1062, 1067, 1072, 1078, 1084, 1090, 1096, 1103, 1110, 1118, 1126, 1136, 1146, 1159, 1174, 1193,
    1220, 1273,
];

/// A message that is about to be sent.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Parcel {
    pub(in crate::engine) from: NodeIx,
    pub(in crate::engine) to: NodeIx,
    pub(in crate::engine) now: u64,
    /// No other message of this sender has it.
    pub(in crate::engine) seq: u64,
    pub(in crate::engine) bytes: u64,
    /// What it would take, in microseconds.
    pub(in crate::engine) delay: u64,
}

/// What becomes of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::engine) enum Fate {
    /// It arrives.
    Arrives {
        /// After so many microseconds.
        delay: u64,
        /// Not before what was sent before it on its stream.
        in_order: bool,
        /// And so much later once more.
        again: Option<u64>,
        /// Damaged, in ways that these bits choose.
        garbled: Option<u64>,
    },
    /// It is sent when the way is open again.
    Waits,
    /// It is lost on its way.
    Lost,
    /// It is sent to where nothing arrives.
    Swallowed,
    /// It takes the connection with it.
    Breaks,
    /// There is no room for it.
    Refused,
}

/// Why nothing gets from one node to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Block {
    /// Nobody waits for ever: the connection dies.
    is_cut: bool,
    effect: Effect,
}

impl Imposed {
    fn blocks(&self, seed: u64, from: NodeIx, to: NodeIx) -> Option<Block> {
        let (paths, is_cut, effect) = match self.fault {
            Fault::Partition { paths: paths @ Paths::Both } => (paths, true, Effect::Partition),
            Fault::Partition { paths: paths @ (Paths::Out | Paths::In) } => (paths, true, Effect::OneWay),
            Fault::Partition { paths: paths @ Paths::Pairs(_) } => (paths, true, Effect::NonTransitive),
            Fault::Flap { paths, .. } => (paths, true, Effect::Flap),
            Fault::Clog { paths } => (paths, false, Effect::Clogged),
            _ => return None,
        };
        let (from_struck, to_struck) = (self.strikes(from), self.strikes(to));
        let is_blocked = self.is_there()
            && match paths {
                Paths::Both => from_struck != to_struck,
                Paths::Out => from_struck && !to_struck,
                Paths::In => !from_struck && to_struck,
                Paths::Pairs(ppm) => {
                    let pair = u64::from(from.min(to)) << 32 | u64::from(from.max(to));
                    from_struck && to_struck && hit(seed, Domain::Pairs, pair, self.since, ppm)
                }
            };
        is_blocked.then_some(Block { is_cut, effect })
    }
}

impl Conditions {
    /// What a node's access to the Internet adds to the delays between two nodes, in microseconds.
    pub(in crate::engine) fn access_delay(&self, a: NodeIx, b: NodeIx) -> u64 {
        let delay = |ix| self.accesses(ix).map(|access| access.figures().1).max().unwrap_or(0);
        if self.is_calm() { 0 } else { delay(a) + delay(b) }
    }

    /// What becomes of a message between connected nodes.
    pub(in crate::engine) fn fate(&mut self, parcel: &Parcel, fired: &mut Fired) -> Fate {
        let datagrams = self.transport == Transport::Datagrams;
        if let Some(block) = self.block(parcel.from, parcel.to) {
            fired.add(block.effect, 1);
            return if block.is_cut && datagrams { Fate::Swallowed } else { Fate::Waits };
        }
        let delay = self.tail(parcel, fired);
        let Some(queued) = self.line(parcel, fired) else { return Fate::Refused };
        let mut delay = delay + queued;
        if self.access_delay(parcel.from, parcel.to) > 0 {
            fired.add(Effect::Access, 1);
        }
        match self.losses(parcel, fired) {
            0 => {}
            _ if datagrams => return Fate::Lost,
            TRANSMISSIONS.. => return Fate::Breaks,
            times => {
                fired.add(Effect::Retransmission, times);
                delay += ((1 << times) - 1) * RETRANSMIT.max(2 * parcel.delay);
            }
        }
        if self.happens(Domain::Corrupt, parcel, |fault| if let Fault::Corrupt { ppm } = fault { *ppm } else { 0 }) {
            fired.add(Effect::Corrupted, 1);
            return if datagrams { Fate::Lost } else { Fate::Breaks };
        }
        let garbled = self
            .happens(Domain::Garble, parcel, |fault| if let Fault::Garble { ppm } = fault { *ppm } else { 0 })
            .then(|| draw(self.seed, Domain::Garble, parcel.seq, u64::from(parcel.from)));
        let (mut in_order, mut again) = (true, None);
        if datagrams {
            if let Some(later) = self.later(Domain::Reorder, parcel) {
                fired.add(Effect::Reordered, 1);
                (in_order, delay) = (false, delay + later);
            }
            again = self.later(Domain::Duplicate, parcel).inspect(|_| fired.add(Effect::Duplicate, 1));
        }
        Fate::Arrives { delay, in_order, again, garbled }
    }

    /// Why a dial gets no answer, if it gets none: it takes both ways.
    pub(in crate::engine) fn dial(&self, from: NodeIx, to: NodeIx) -> Option<Effect> {
        if self.is_calm() {
            return None;
        }
        let cut = |from, to| self.block(from, to).filter(|block| block.is_cut).map(|block| block.effect);
        let undialable = self.at(to).any(|fault| *fault == Fault::Undialable).then_some(Effect::Undialable);
        cut(from, to).or_else(|| cut(to, from)).or(undialable)
    }

    /// Has a node as many connections as it may have?
    pub(in crate::engine) fn is_full(&self, ix: NodeIx, connections: usize) -> bool {
        self.at(ix).any(|fault| matches!(fault, Fault::ConnectionCap { most } if connections >= *most))
    }

    /// Is there nothing between two nodes that has come with this fault?
    pub(in crate::engine) fn is_cut_by(&self, id: u32, a: NodeIx, b: NodeIx) -> bool {
        self.of(id).is_some_and(|imposed| match imposed.fault {
            Fault::Pause { .. } => imposed.strikes(a) != imposed.strikes(b),
            _ => [(a, b), (b, a)]
                .into_iter()
                .any(|(from, to)| imposed.blocks(self.seed, from, to).is_some_and(|block| block.is_cut)),
        })
    }

    /// Keeps a message until the way is open; gives it back when it is.
    pub(in crate::engine) fn hold(&mut self, from: NodeIx, to: NodeIx, payload: Payload) -> Option<Payload> {
        if self.is_calm() || self.block(from, to).is_none() {
            return Some(payload);
        }
        self.held.entry((from, to)).or_default().push(payload);
        None
    }

    /// What need not wait any more.
    pub(in crate::engine) fn release(&mut self) -> Vec<((NodeIx, NodeIx), Vec<Payload>)> {
        let pairs: Vec<_> = self.held.keys().copied().filter(|(from, to)| self.block(*from, *to).is_none()).collect();
        pairs.into_iter().filter_map(|pair| Some((pair, self.held.remove(&pair)?))).collect()
    }

    /// What a node has sent and what did not get away is lost with it, but for the ends of its connections: whoever was
    /// at the other end of one notices.
    pub(in crate::engine) fn forget(&mut self, ix: NodeIx) {
        for (_, held) in self.held.iter_mut().filter(|((from, _), _)| *from == ix) {
            held.retain(|payload| matches!(payload, Payload::Hangup { .. }));
        }
        self.backlogs.remove(&ix);
    }

    /// What stops a message; a cut counts before a clog.
    fn block(&self, from: NodeIx, to: NodeIx) -> Option<Block> {
        let blocks = self.imposed.iter().filter_map(|imposed| imposed.blocks(self.seed, from, to));
        blocks.max_by_key(|block| block.is_cut)
    }

    fn accesses(&self, ix: NodeIx) -> impl Iterator<Item = Access> + '_ {
        self.at(ix).filter_map(|fault| if let Fault::Access(access) = fault { Some(*access) } else { None })
    }

    fn happens(&self, domain: Domain, parcel: &Parcel, ppm: impl Fn(&Fault) -> u64) -> bool {
        let worst = self.at(parcel.from).map(ppm).max().unwrap_or(0);
        self.hit(domain, u64::from(parcel.from), parcel.seq, worst)
    }

    /// How much later a message, or its duplicate, arrives.
    fn later(&self, domain: Domain, parcel: &Parcel) -> Option<u64> {
        let worst = self
            .at(parcel.from)
            .filter_map(|fault| match (fault, domain) {
                (Fault::Reorder { ppm, within }, Domain::Reorder)
                | (Fault::Duplicate { ppm, within }, Domain::Duplicate) => Some((*ppm, *within)),
                _ => None,
            })
            .max()?;
        let bits = draw(self.seed, domain, parcel.seq, u64::from(parcel.from));
        self.hit(domain, u64::from(parcel.from), parcel.seq, worst.0).then(|| 1 + scale(bits, worst.1))
    }

    /// The message's delay, stretched.
    fn tail(&self, parcel: &Parcel, fired: &mut Fired) -> u64 {
        let mut delay = parcel.delay;
        let mut rare = 0;
        for fault in self.at(parcel.from) {
            let Fault::Tail { spread, rare_ppm } = fault else { continue };
            let bits = draw(self.seed, Domain::Tail, u64::from(parcel.from), parcel.seq);
            for _ in 0..*spread {
                delay = delay * LOGNORMAL[(bits >> 58) as usize] / 1_000;
            }
            rare = rare.max(*rare_ppm);
        }
        if self.hit(Domain::RareTail, u64::from(parcel.from), parcel.seq, rare) {
            fired.add(Effect::Tail, 1);
            delay *= 10 + scale(draw(self.seed, Domain::RareTail, parcel.seq, u64::from(parcel.from)), 91);
        }
        delay
    }

    /// How long a message waits for the lines of both ends and goes through them; `None` when one has no room.
    fn line(&mut self, parcel: &Parcel, fired: &mut Fired) -> Option<u64> {
        let mut at = parcel.now;
        for (ix, direction) in [(parcel.from, 0), (parcel.to, 1)] {
            let Some(kbit) = self.rate(ix) else { continue };
            let free = self.lines.entry(ix).or_default()[direction].max(at);
            if free > at + LONGEST_QUEUE {
                fired.add(Effect::QueueOverflow, 1);
                return None;
            }
            fired.add(Effect::Queued, u64::from(free > at));
            at = free + parcel.bytes * 8_000 / kbit;
            self.lines.entry(ix).or_default()[direction] = at;
        }
        Some(at - parcel.now)
    }

    /// Kilobits a second in each direction, if there is a limit.
    fn rate(&self, ix: NodeIx) -> Option<u64> {
        let rates = self.at(ix).filter_map(|fault| match fault {
            Fault::Bandwidth { kbit } => Some(*kbit),
            Fault::Access(access) => Some(access.figures().0),
            _ => None,
        });
        rates.min().map(|kbit| kbit.max(1))
    }

    /// How often a message is lost before it gets through.
    fn losses(&mut self, parcel: &Parcel, fired: &mut Fired) -> u64 {
        let accesses = [parcel.from, parcel.to].into_iter().flat_map(|ix| self.accesses(ix));
        let mut worst = accesses.map(|access| access.figures().2).max().unwrap_or(0);
        let (seed, direction) = (self.seed, u64::from(parcel.from) << 32 | u64::from(parcel.to));
        for imposed in self.imposed.iter_mut().filter(|imposed| imposed.strikes(parcel.from)) {
            let Fault::Loss { good_ppm, bad_ppm, burst, gap } = imposed.fault else { continue };
            let was_bad = imposed.bad.contains_key(&direction);
            let mean = if was_bad { burst } else { gap }.max(1);
            let turns = burst > 0 && scale(draw(seed, Domain::Burst, direction, parcel.seq), mean) == 0;
            if turns && was_bad {
                imposed.bad.remove(&direction);
            } else if turns {
                imposed.bad.insert(direction, ());
                fired.add(Effect::Burst, 1);
            }
            worst = worst.max(if was_bad != turns { bad_ppm } else { good_ppm });
        }
        if !self.hit(Domain::Loss, u64::from(parcel.from), parcel.seq, worst) {
            return 0;
        }
        let again = |times: &u64| {
            let counter = parcel.seq.wrapping_mul(TRANSMISSIONS).wrapping_add(*times);
            self.hit(Domain::Retransmit, u64::from(parcel.from), counter, worst)
        };
        1 + (1..TRANSMISSIONS).take_while(again).count() as u64
    }
}
