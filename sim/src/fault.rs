//! What can go wrong, and how often it did.

use serde::{Deserialize, Serialize, Serializer};

use crate::engine::Down;

/// What happens to the nodes a fault strikes, from when it is imposed until it is lifted.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// What the nodes send is lost.
    Loss {
        /// So many of a million messages, requests and answers.
        ppm: u64,
    },
    /// One connection of each node breaks, at once.
    Reset,
    /// The nodes end without warning. With the end of the fault they start again with what their disks hold.
    Crash {
        /// How they look from outside.
        down: Down,
    },
}

impl Fault {
    /// It is over as soon as it has struck.
    pub fn is_instant(&self) -> bool {
        matches!(self, Self::Reset)
    }

    /// Whom it strikes does not run until it is lifted.
    pub fn takes_down(&self) -> bool {
        matches!(self, Self::Crash { .. })
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
    /// A connection breaks.
    Reset => "resets",
    /// A node ends without warning.
    Crash => "crashes",
    /// A node starts again.
    Restart => "restarts",
    /// A disk request without an answer is lost in a crash.
    LostWrite => "writes lost",
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
