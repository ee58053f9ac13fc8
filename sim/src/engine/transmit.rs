//! Messages on their way, through whatever rules between two nodes.

use registry_core::input::{Input, RequestError};
use registry_core::wire::WireError;
use registry_core::{Message, Protocol};

use super::conditions::{Fate, Parcel};
use super::{NodeIx, Payload, World};
use crate::fault::Effect;
use crate::mix::{Domain, draw, mix, scale};
use crate::queue::Class;

/// At most so many bits of a damaged message are flipped; one in four is cut short besides.
const FLIPS: u64 = 32;
const CUT_SHORT: u64 = 4;

impl Payload {
    /// Which of a connection's long-lived streams it travels on.
    fn stream(&self) -> Option<usize> {
        match self {
            Self::OneWay { msg, .. } if msg.protocol() == Protocol::Bitswap => Some(1),
            Self::OneWay { .. } => Some(0),
            _ => None,
        }
    }

    pub(super) fn message(&self) -> Option<&Message> {
        match self {
            Self::OneWay { msg, .. } | Self::Ask { msg, .. } | Self::Answer { result: Ok(msg), .. } => Some(msg),
            _ => None,
        }
    }
}

impl World {
    /// The usual one-way delay between two nodes, in microseconds.
    pub(super) fn one_way(&self, a: NodeIx, b: NodeIx) -> u64 {
        self.net.one_way(a, b) + self.conditions.access_delay(a, b)
    }

    /// The usual round trip between two nodes, in microseconds.
    pub(super) fn rtt(&self, a: NodeIx, b: NodeIx) -> u64 {
        2 * self.one_way(a, b)
    }

    /// Sends to a linked peer. False when there is no room for it.
    pub(super) fn transmit(&mut self, from: NodeIx, to: NodeIx, payload: Payload) -> bool {
        let seq = self.hosts[from as usize].seq;
        let delay = self.net.delay(from, to, seq);
        let stream = payload.stream();
        if self.conditions.is_calm() {
            let at = self.arrival(from, to, stream, delay);
            self.schedule(at, Class::Network, to, from, payload);
            return true;
        }
        let delay = delay + self.conditions.access_delay(from, to);
        let parcel = Parcel { from, to, now: self.now, seq, bytes: self.frame_len(&payload), delay };
        let fate = self.conditions.fate(&parcel, &mut self.fired);
        let Fate::Arrives { delay, in_order, again, garbled } = fate else {
            self.hosts[from as usize].seq += 1;
            match fate {
                Fate::Waits => drop(self.conditions.hold(from, to, payload)),
                Fate::Lost => self.lose(from, to, payload),
                Fate::Breaks => self.disconnect(from, to),
                Fate::Swallowed | Fate::Refused | Fate::Arrives { .. } => {}
            }
            return fate != Fate::Refused;
        };
        let payload = match garbled {
            Some(bits) => self.garble(from, payload, bits),
            None => payload,
        };
        let at = self.arrival(from, to, stream.filter(|_| in_order), delay);
        if let Some(later) = again {
            self.schedule(at + later, Class::Network, to, from, payload.clone());
        }
        self.schedule(at, Class::Network, to, from, payload);
        true
    }

    /// Sends what the connection itself needs: it waits for its way to be open, but is not lost.
    pub(super) fn carry(&mut self, at: u64, to: NodeIx, from: NodeIx, payload: Payload) {
        if let Some(payload) = self.conditions.hold(from, to, payload) {
            self.schedule(at, Class::Network, to, from, payload);
        }
    }

    /// A message that was damaged has arrived: the shell closes its stream.
    pub(super) fn malformed_arrives(
        &mut self,
        from: NodeIx,
        to: NodeIx,
        conn: u64,
        id: Option<registry_core::id::RequestId>,
        (protocol, error): (Protocol, WireError),
    ) {
        if !self.is_linked(to, from, conn) {
            return;
        }
        if let Some(id) = id {
            let payload = Payload::Answer { conn, id, result: Err(RequestError::Reset) };
            self.carry(self.now + self.one_way(to, from), from, to, payload);
        }
        let peer = self.hosts[from as usize].peer_id_on(conn);
        self.input(to, Input::Malformed { peer, protocol, error });
    }

    /// When what is sent now reaches a linked peer.
    fn arrival(&mut self, from: NodeIx, to: NodeIx, stream: Option<usize>, delay: u64) -> u64 {
        let at = self.now + delay;
        self.hosts[from as usize].links.get_mut(&to).map_or(at, |link| link.arrival(at, stream))
    }

    fn frame_len(&mut self, payload: &Payload) -> u64 {
        let Some(msg) = payload.message() else { return 0 };
        if let Some(len) = self.encoded.as_ref().and_then(|encoded| encoded.len_of(msg)) {
            return len as u64;
        }
        self.scratch.clear();
        msg.encode_into(&mut self.scratch);
        self.scratch.len() as u64
    }

    /// A lost request is a stream that was reset, or in one of four cases one that hangs.
    fn lose(&mut self, from: NodeIx, to: NodeIx, payload: Payload) {
        match payload {
            Payload::Ask { conn, id: Some(id), .. } => {
                self.fired.add(Effect::LostRequest, 1);
                let seq = self.hosts[from as usize].seq;
                let hangs = scale(draw(self.seed, Domain::LossKind, u64::from(from), seq), 4) == 0;
                if !hangs {
                    let payload = Payload::Answer { conn, id, result: Err(RequestError::Reset) };
                    self.schedule(self.now + self.rtt(from, to), Class::Network, from, to, payload);
                }
            }
            Payload::Answer { conn, id, .. } => {
                self.fired.add(Effect::LostRequest, 1);
                let payload = Payload::Answer { conn, id, result: Err(RequestError::Reset) };
                self.schedule(self.now + self.one_way(from, to), Class::Network, to, from, payload);
            }
            _ => self.fired.add(Effect::LostMessage, 1),
        }
    }

    fn garble(&mut self, from: NodeIx, payload: Payload, bits: u64) -> Payload {
        let Some(msg) = payload.message() else { return payload };
        self.hosts[from as usize].garbles = true;
        let (protocol, damaged) = (msg.protocol(), damage(msg, bits));
        self.fired.add(if damaged.is_ok() { Effect::Altered } else { Effect::Garbled }, 1);
        match (payload, damaged) {
            (Payload::OneWay { conn, .. }, Ok(msg)) => Payload::OneWay { conn, msg },
            (Payload::Ask { conn, id, .. }, Ok(msg)) => Payload::Ask { conn, id, msg },
            (Payload::Answer { conn, id, .. }, damaged) => {
                Payload::Answer { conn, id, result: damaged.map_err(|_| RequestError::Malformed) }
            }
            (Payload::OneWay { conn, .. }, Err(error)) => {
                Payload::Malformed { conn, id: None, what: (protocol, error) }
            }
            (Payload::Ask { conn, id, .. }, Err(error)) => Payload::Malformed { conn, id, what: (protocol, error) },
            (payload, _) => payload,
        }
    }
}

/// What a receiver makes of a message some of whose bits are flipped.
fn damage(msg: &Message, bits: u64) -> Result<Message, WireError> {
    let mut bytes = Vec::new();
    msg.encode_into(&mut bytes);
    for flip in 0..=bits % FLIPS {
        let at = scale(mix(bits.wrapping_add(flip)), bytes.len() as u64 * 8) as usize;
        bytes.get_mut(at / 8).into_iter().for_each(|byte| *byte ^= 1 << (at % 8));
    }
    if (bits >> 32).is_multiple_of(CUT_SHORT) {
        bytes.truncate(scale(mix(bits), bytes.len() as u64) as usize);
    }
    Message::decode(msg.protocol(), bytes.into())
}
