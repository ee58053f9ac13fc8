//! This example's own way to carry messages: one TCP connection per peer, on which both tell their ids and then send
//! frames of 14 bytes (kind, protocol, number of the question, length) and a message.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::Sender;
use std::thread;

use registry_core::id::RequestId;
use registry_core::input::Side;
use registry_core::{Message, PeerId, Protocol};

/// In the order of their numbers.
const PROTOCOLS: [Protocol; 4] = [Protocol::Kad, Protocol::Gossip, Protocol::Bitswap, Protocol::Registry];

/// What the threads that read sockets tell the loop.
pub(crate) enum Heard {
    Up(PeerId, Side, TcpStream, SocketAddr),
    Frame(PeerId, Frame),
    Down(PeerId),
}

pub(crate) enum Frame {
    OneWay(Message),
    Question(RequestId, Message),
    Answer(RequestId, Message),
}

impl Frame {
    pub(crate) fn write(&self, stream: &mut TcpStream) -> Result<()> {
        let (kind, id, msg) = match self {
            Self::OneWay(msg) => (0, 0, msg),
            Self::Question(id, msg) => (1, id.0, msg),
            Self::Answer(id, msg) => (2, id.0, msg),
        };
        let mut bytes = vec![kind, msg.protocol() as u8];
        bytes.extend(id.to_be_bytes());
        bytes.extend((msg.wire_len() as u32).to_be_bytes());
        msg.encode_into(&mut bytes);
        stream.write_all(&bytes)
    }

    fn read(stream: &mut TcpStream) -> Result<Self> {
        let mut head = [0; 14];
        stream.read_exact(&mut head)?;
        let [kind, protocol, id @ .., a, b, c, d] = head;
        let (id, len) = (RequestId(u64::from_be_bytes(id)), u32::from_be_bytes([a, b, c, d]) as usize);
        let protocol = *PROTOCOLS.get(usize::from(protocol)).ok_or(ErrorKind::InvalidData)?;
        let mut body = vec![0; len.min(protocol.max_frame())];
        stream.read_exact(&mut body)?;
        let msg = Message::decode(protocol, body.into()).map_err(|_| ErrorKind::InvalidData)?;
        match kind {
            0 => Ok(Self::OneWay(msg)),
            1 => Ok(Self::Question(id, msg)),
            2 => Ok(Self::Answer(id, msg)),
            _ => Err(ErrorKind::InvalidData.into()),
        }
    }
}

/// Tells each other's ids, then reads frames on a thread of its own until the connection ends.
pub(crate) fn greet(mut stream: TcpStream, own: PeerId, side: Side, tell: Sender<Heard>) {
    thread::spawn(move || -> Result<()> {
        stream.write_all(own.as_bytes())?;
        let mut id = [0; 38];
        stream.read_exact(&mut id)?;
        let peer = PeerId::from_bytes(&id).map_err(|_| ErrorKind::InvalidData)?;
        // A loop that has ended listens to nobody.
        let _ = tell.send(Heard::Up(peer, side, stream.try_clone()?, stream.peer_addr()?));
        while let Ok(frame) = Frame::read(&mut stream) {
            let _ = tell.send(Heard::Frame(peer, frame));
        }
        let _ = tell.send(Heard::Down(peer));
        Ok(())
    });
}
