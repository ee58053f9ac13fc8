//! How a disk answers.

use registry_core::action::StoreRequest;
use registry_core::input::StoreError;

use super::Conditions;
use crate::disk::{Disk, Outcome};
use crate::engine::NodeIx;
use crate::fault::{Effect, Fault, Fired};
use crate::mix::{Domain, draw, scale};
use crate::scenario::SECOND;

/// A disk that stalls does so for so long, in microseconds.
const STALL: (u64, u64) = (SECOND, 30 * SECOND);

impl Conditions {
    /// How long a request takes that usually takes `latency`, and how it ends. `counter` numbers what the node asks.
    pub(in crate::engine) fn disk(
        &self,
        ix: NodeIx,
        counter: u64,
        latency: u64,
        request: &StoreRequest,
        disk: &Disk,
        fired: &mut Fired,
    ) -> (u64, Outcome) {
        let writes = matches!(request, StoreRequest::Commit(_) | StoreRequest::PutBlock { .. });
        let hit = |domain, ppm| self.hit(domain, u64::from(ix), counter, ppm);
        let (mut slowest, mut stall, mut outcome) = (1, 0, Outcome::Works);
        for fault in self.at(ix) {
            match fault {
                Fault::DiskSlow { factor } => slowest = slowest.max(*factor),
                Fault::DiskStall { ppm } if hit(Domain::DiskStall, *ppm) => {
                    let bits = draw(self.seed, Domain::DiskStallTime, u64::from(ix), counter);
                    stall = STALL.0 + scale(bits, STALL.1 - STALL.0);
                }
                Fault::DiskFull if writes => outcome = Outcome::Fails(StoreError::Full),
                Fault::DiskError { ppm } if outcome == Outcome::Works && hit(Domain::DiskError, *ppm) => {
                    outcome = Outcome::Fails(StoreError::Io);
                }
                Fault::BitRot { ppm } if outcome == Outcome::Works && hit(Domain::BitRot, *ppm) => {
                    if matches!(request, StoreRequest::GetBlock(digest) if disk.block(digest).is_some()) {
                        outcome = Outcome::Rots;
                    }
                }
                _ => {}
            }
        }
        for (effect, fires) in [
            (Effect::DiskSlow, slowest > 1),
            (Effect::DiskStall, stall > 0),
            (Effect::DiskFull, outcome == Outcome::Fails(StoreError::Full)),
            (Effect::DiskError, outcome == Outcome::Fails(StoreError::Io)),
            (Effect::BitRot, outcome == Outcome::Rots),
        ] {
            fired.add(effect, u64::from(fires));
        }
        (latency * slowest + stall, outcome)
    }
}
