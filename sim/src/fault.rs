//! What can go wrong, and how often it did.

use serde::{Deserialize, Serialize, Serializer};

use crate::adversary::{Hostile, Place};
use crate::engine::Down;
use crate::scenario::human;

/// What happens to the nodes a fault strikes, from when it is imposed until it is lifted. Several may be in force at once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// What the nodes send is lost, in bursts: each direction between two nodes goes back and forth between a good and a
    /// bad state. With datagrams a message is dropped; with streams it is sent again, later and later, and the connection
    /// breaks when that does not help.
    Loss {
        /// So many of a million messages in the good state.
        good_ppm: u64,
        /// And in the bad state.
        #[serde(default)]
        bad_ppm: u64,
        /// Messages in a bad state, on average; 0: it is always good.
        #[serde(default)]
        burst: u64,
        /// Messages between two bad states, on average.
        #[serde(default = "default_gap")]
        gap: u64,
    },
    /// What the nodes send takes another time than usual.
    Tail {
        /// Every delay is multiplied by a lognormal factor, whose sigma is so many tenths.
        #[serde(default)]
        spread: u32,
        /// So many of a million messages take ten to a hundred times as long.
        rare_ppm: u64,
    },
    /// The nodes are connected to the Internet like this.
    Access(Access),
    /// The nodes send and receive so many kilobits a second. What would have to wait for more than ten seconds is dropped.
    Bandwidth {
        /// In each direction.
        kbit: u64,
    },
    /// What the nodes send arrives twice; datagrams only.
    Duplicate {
        /// So many of a million messages.
        ppm: u64,
        /// The second at most so much later.
        #[serde(with = "human")]
        within: u64,
    },
    /// What the nodes send is overtaken by what they send later; datagrams only.
    Reorder {
        /// So many of a million messages.
        ppm: u64,
        /// They arrive at most so much later.
        #[serde(with = "human")]
        within: u64,
    },
    /// A bit of what the nodes send is flipped on the way. With streams the connection breaks, since it does not
    /// authenticate; with datagrams the message is dropped.
    Corrupt {
        /// So many of a million messages.
        ppm: u64,
    },
    /// The nodes themselves damage what they send: it arrives well framed, and may decode to something else.
    Garble {
        /// So many of a million messages.
        ppm: u64,
    },
    /// Some nodes cannot reach others. Connections die when their keep-alive does.
    Partition {
        /// Which.
        paths: Paths,
    },
    /// A partition that comes and goes.
    Flap {
        /// Who cannot reach whom.
        paths: Paths,
        /// How long it is there.
        #[serde(with = "human")]
        down: u64,
        /// How long it is not.
        #[serde(with = "human")]
        up: u64,
    },
    /// What is sent waits until this is lifted; nothing is lost, and no connection dies.
    Clog {
        /// Between whom.
        paths: Paths,
    },
    /// Nobody can dial the nodes.
    Undialable,
    /// The nodes have at most so many connections: further dials, their own and those of others, are refused.
    ConnectionCap {
        /// Connections.
        most: usize,
    },
    /// One connection of each node breaks, at once.
    Reset,
    /// The nodes end without warning. With the end of the fault they start again.
    Crash {
        /// How they look from outside.
        down: Down,
        /// They come back with nothing but their publisher keys: an empty disk, another peer id.
        #[serde(default)]
        disk_lost: bool,
    },
    /// The nodes stop as a shell stops: the store does what was asked of it, connections are closed. With the end of the
    /// fault they start again.
    Stop,
    /// The nodes handle nothing. When this is lifted all that was due is late at once.
    Pause {
        /// The machine sleeps: its monotonic clock stands still, its wall clock does not.
        #[serde(default)]
        asleep: bool,
    },
    /// The nodes take so many times as long for all they do.
    Slow {
        /// A usual node takes no virtual time for an input; a slow one so many times 100 microseconds.
        factor: u64,
    },
    /// The store fails.
    DiskError {
        /// So many of a million requests, reads and writes.
        ppm: u64,
    },
    /// There is no room for what is to be written.
    DiskFull,
    /// The store takes so many times as long.
    DiskSlow {
        /// How many.
        factor: u64,
    },
    /// The store does nothing for one to thirty seconds.
    DiskStall {
        /// Before so many of a million requests.
        ppm: u64,
    },
    /// A bit of a block has flipped when it is read. The store finds that it does not match its name, and puts it away.
    BitRot {
        /// Of so many of a million blocks read.
        ppm: u64,
    },
    /// The nodes are an attacker's.
    Hostile(Hostile),
    /// The nodes start anew, as peers whose places were chosen by the attacker. They stay that when this is lifted.
    Sybil {
        /// Near what.
        near: Place,
        /// The first bits of the places that agree; each doubles the work to find such a key.
        bits: u32,
    },
    /// The nodes dial from one address. They go on to do so when this is lifted.
    CoLocated,
    /// The nodes start anew with the log of a publisher of the attacker's, and every second one with another log of the
    /// same publisher: a contradiction that it has signed.
    Equivocate,
    /// The nodes start anew, each with the log of a publisher of the attacker's that imitates the packages of the work.
    SearchSpam {
        /// In each log.
        statements: u32,
        /// So many packages, from the first.
        imitated: u32,
    },
    /// The nodes' wall clocks jump by so much, and back when this is lifted.
    ClockJump {
        /// Seconds.
        by: i64,
    },
    /// The nodes' clocks run fast, or slow.
    ClockDrift {
        /// So many millionths.
        ppm: i64,
    },
}

fn default_gap() -> u64 {
    20
}

/// Who cannot, or not well, speak to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Paths {
    /// The struck nodes to the others, and the others to them.
    Both,
    /// The struck nodes to the others.
    Out,
    /// The others to the struck nodes.
    In,
    /// Each pair of struck nodes with so many in a million, so that A may reach B, and B C, but not A C.
    Pairs(u64),
}

/// How a node is connected to the Internet: rates, delay beyond distance, loss.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// 1 Gbit/s.
    Reliable,
    /// 50 Mbit/s, 20 ms, 0.1 %.
    Home,
    /// 5 Mbit/s, 20 ms, 0.1 %.
    Constrained,
    /// 50 Mbit/s, 300 ms, 5 %.
    Laggy,
    /// 2 Mbit/s, 500 ms, 20 %.
    Bad,
}

impl Access {
    /// Kilobits a second, microseconds one way, and losses in millionths.
    pub const fn figures(self) -> (u64, u64, u64) {
        match self {
            Self::Reliable => (1_000_000, 0, 0),
            Self::Home => (50_000, 20_000, 1_000),
            Self::Constrained => (5_000, 20_000, 1_000),
            Self::Laggy => (50_000, 300_000, 50_000),
            Self::Bad => (2_000, 500_000, 200_000),
        }
    }
}

impl Fault {
    /// So many of a million messages are lost, one independent of the other.
    pub fn loss(ppm: u64) -> Self {
        Self::Loss { good_ppm: ppm, bad_ppm: 0, burst: 0, gap: default_gap() }
    }

    /// It is over as soon as it has struck.
    pub fn is_instant(&self) -> bool {
        matches!(self, Self::Reset)
    }

    /// Whom it strikes is not to be relied on.
    pub fn is_hostile(&self) -> bool {
        matches!(
            self,
            Self::Hostile(_) | Self::Sybil { .. } | Self::CoLocated | Self::Equivocate | Self::SearchSpam { .. }
        )
    }

    /// Whom it strikes does not run until it is lifted.
    pub fn takes_down(&self) -> bool {
        matches!(self, Self::Crash { .. } | Self::Stop)
    }
}

macro_rules! effects {
    ($($(#[doc = $doc:literal])* $name:ident => $text:literal,)*) => {
        /// What a fault, or the engine itself, has done.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Effect {
            $($(#[doc = $doc])* $name,)*
        }

        impl Effect {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// As reports call it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

effects! {
    /// A message is lost.
    LostMessage => "messages lost",
    /// A request or an answer is lost.
    LostRequest => "requests lost",
    /// A direction between two nodes goes bad.
    Burst => "bursts of loss",
    /// A message on a stream is sent again.
    Retransmission => "retransmissions",
    /// A message takes ten to a hundred times as long.
    Tail => "long tails",
    /// A message takes longer on its way from or to the Internet.
    Access => "slow accesses",
    /// A message waits for those before it, since there is no bandwidth for both.
    Queued => "bandwidth queues",
    /// A message is dropped, since too many wait for bandwidth.
    QueueOverflow => "bandwidth overflows",
    /// A message arrives twice.
    Duplicate => "duplicates",
    /// A message arrives after those sent later.
    Reordered => "messages reordered",
    /// A message does not authenticate.
    Corrupted => "messages corrupted",
    /// A message arrives as something that is none.
    Garbled => "messages garbled",
    /// A message arrives as another one.
    Altered => "messages altered",
    /// A partition stops a message or a dial.
    Partition => "stopped by partitions",
    /// The same when it is one-way.
    OneWay => "stopped by one-way partitions",
    /// The same between single pairs.
    NonTransitive => "stopped between pairs",
    /// The same when it comes and goes.
    Flap => "stopped by flapping partitions",
    /// A message is held up.
    Clogged => "messages clogged",
    /// Nobody has spoken on a connection for so long that it is given up.
    GivenUp => "connections given up",
    /// A dial to an undialable node.
    Undialable => "dials to undialable nodes",
    /// A dial is refused, since there are too many connections.
    ConnectionCap => "dials over the cap",
    /// A connection breaks.
    Reset => "resets",
    /// A node ends without warning.
    Crash => "crashes",
    /// The same, and its disk is lost.
    LostDisk => "crashes with loss of disk",
    /// A node stops.
    Stop => "stops",
    /// A node starts again.
    Restart => "restarts",
    /// An input or a timeout waits for a paused node.
    Paused => "inputs while paused",
    /// The same when its machine sleeps.
    Asleep => "inputs while asleep",
    /// An input or a timeout waits for a slow node.
    Slow => "inputs at slow nodes",
    /// A disk request without an answer is lost in a crash.
    LostWrite => "writes lost",
    /// A disk request fails.
    DiskError => "disk errors",
    /// A write finds no room.
    DiskFull => "writes to full disks",
    /// A disk request takes longer.
    DiskSlow => "slow disk requests",
    /// A disk does nothing for some seconds.
    DiskStall => "disk stalls",
    /// A block does not match its name.
    BitRot => "rotten blocks",
    /// A wall clock jumps.
    ClockJump => "wall clock jumps",
    /// A node is called by a clock that drifts.
    ClockDrift => "calls by drifting clocks",
    /// A message of others is not forwarded.
    NotForwarded => "messages not forwarded",
    /// A neighbour is offered messages that nobody has.
    IhaveFlood => "IHAVE floods",
    /// A neighbour is asked for a thousand messages.
    IwantFlood => "IWANT floods",
    /// A neighbour is grafted without end.
    GraftFlood => "GRAFT floods",
    /// An answer is the one to an earlier question.
    StaleAnswer => "stale answers",
    /// An answer comes just before nobody waits for it.
    SlowDrip => "answers that drip",
    /// An answer names peers that do not exist.
    InventedPeers => "answers with invented peers",
    /// An answer names the attacker's peers only.
    Eclipse => "answers with fellows only",
    /// Something is not taken, or not given.
    Censored => "questions censored",
    /// A block has other bytes.
    BadBytes => "bad blocks",
    /// A signature is altered.
    ForgedStatement => "forged statements",
    /// A search is answered with another one's answer.
    IrrelevantFind => "irrelevant finds",
    /// A search is answered with nothing.
    EmptyFind => "empty finds",
    /// A search is answered without the latest news.
    OldNews => "old news",
    /// A peer has a place of its choice.
    Sybil => "sybils",
    /// A node dials from an address that it shares.
    CoLocated => "shared addresses",
    /// A node holds one of two logs that contradict each other.
    Equivocation => "contradictory logs",
    /// A statement imitates a package.
    SearchSpam => "imitations",
    /// A node is called when nothing is due.
    SpuriousTimeout => "spurious timeouts",
}

/// How often each effect was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fired([u64; Effect::ALL.len()]);

impl Default for Fired {
    fn default() -> Self {
        Self([0; Effect::ALL.len()])
    }
}

impl Fired {
    /// An effect is seen so many times more.
    pub fn add(&mut self, effect: Effect, times: u64) {
        self.0[effect as usize] += times;
    }

    /// How often an effect was seen.
    pub fn of(&self, effect: Effect) -> u64 {
        self.0[effect as usize]
    }

    /// Each effect and how often it was seen.
    pub fn iter(&self) -> impl Iterator<Item = (Effect, u64)> + '_ {
        Effect::ALL.iter().map(|effect| (*effect, self.of(*effect)))
    }

    /// Both together.
    pub fn merge(&mut self, other: &Self) {
        other.iter().for_each(|(effect, times)| self.add(effect, times));
    }
}

impl Serialize for Fired {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(effect, times)| (effect.name(), times)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Entry {
        fault: Fault,
    }

    #[test]
    fn faults_are_written_as_the_documentation_says() {
        for fault in [
            "{ loss = { good-ppm = 0, bad-ppm = 200000, burst = 5 } }",
            "{ tail = { spread = 1, rare-ppm = 1000 } }",
            "{ access = \"bad\" }",
            "{ bandwidth = { kbit = 512 } }",
            "{ duplicate = { ppm = 1000, within = \"10s\" } }",
            "{ reorder = { ppm = 1000, within = \"100ms\" } }",
            "{ corrupt = { ppm = 10 } }",
            "{ garble = { ppm = 10 } }",
            "{ partition = { paths = \"out\" } }",
            "{ partition = { paths = { pairs = 300000 } } }",
            "{ flap = { paths = \"both\", down = \"5s\", up = \"1m\" } }",
            "{ clog = { paths = \"in\" } }",
            "\"undialable\"",
            "{ connection-cap = { most = 8 } }",
            "\"reset\"",
            "{ crash = { down = \"silent\" } }",
            "\"stop\"",
            "{ pause = { asleep = true } }",
            "{ slow = { factor = 50 } }",
            "{ disk-error = { ppm = 1000 } }",
            "\"disk-full\"",
            "{ disk-slow = { factor = 10 } }",
            "{ disk-stall = { ppm = 1000 } }",
            "{ bit-rot = { ppm = 1000 } }",
            "{ clock-jump = { by = -86400 } }",
            "{ clock-drift = { ppm = -50 } }",
            "{ hostile = \"slow-drip\" }",
            "{ hostile = { censor = { package = 3 } } }",
            "{ sybil = { near = { publisher = 0 }, bits = 10 } }",
            "\"co-located\"",
            "\"equivocate\"",
            "{ search-spam = { statements = 100, imitated = 20 } }",
        ] {
            let entry: Entry =
                toml::from_str(&format!("fault = {fault}")).unwrap_or_else(|error| panic!("{fault}: {error}"));
            let written = toml::to_string(&entry).expect("it can be written");
            assert_eq!(toml::from_str::<Entry>(&written).expect("and read again"), entry);
        }
        assert!(toml::from_str::<Entry>("fault = { loss = { good-ppm = 0, bad = 1 } }").is_err());
    }
}
