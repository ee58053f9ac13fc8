//! Frames on a stream: an unsigned-varint length, then the body.

use alloc::vec::Vec;

use bytes::{Buf, Bytes, BytesMut};

use crate::wire::{Message, Protocol, WireError, varint};

/// A length prefix that goes on longer is over every protocol's limit: four bytes say up to 256 MiB.
const MAX_PREFIX: usize = 4;

/// Cuts a stream of bytes into frames.
///
/// Memory grows with the bytes received, never with a declared length; an idle decoder holds none. A frame holds at most
/// twice its size in memory. Poll until `None` after every push.
#[derive(Debug)]
pub struct FrameDecoder {
    protocol: Protocol,
    buffer: BytesMut,
    failed: Option<WireError>,
}

impl FrameDecoder {
    /// A decoder at the start of a stream of `protocol`.
    pub fn new(protocol: Protocol) -> Self {
        Self { protocol, buffer: BytesMut::new(), failed: None }
    }

    /// Appends bytes as they came from the stream. After an error they are dropped.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The body of the next frame, `None` until it is complete.
    ///
    /// # Errors
    /// `Varint` for a prefix that is no minimal varint, `TooLong` for one above the protocol's limit, `Missing` for an
    /// empty frame of a protocol that has none. The stream cannot go on behind an error: it is returned again.
    pub fn poll(&mut self) -> Result<Option<Bytes>, WireError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.next_frame().inspect_err(|&error| {
            self.failed = Some(error);
            self.buffer = BytesMut::new();
        })
    }

    /// To be asked when the stream has ended.
    ///
    /// # Errors
    /// `Truncated` in the middle of a frame, or the error that was found before.
    pub fn finish(&self) -> Result<(), WireError> {
        match self.failed {
            Some(error) => Err(error),
            None if self.buffer.is_empty() => Ok(()),
            None => Err(WireError::Truncated),
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    fn next_frame(&mut self) -> Result<Option<Bytes>, WireError> {
        let Some((len, prefix)) = read_prefix(&self.buffer)? else { return Ok(None) };
        let len = usize::try_from(len).map_err(|_| WireError::TooLong)?;
        check_len(self.protocol, len, self.protocol.max_frame())?;
        if self.buffer.len() - prefix < len {
            return Ok(None);
        }
        let end = prefix + len;
        // Parts of a frame may be kept for long: they must not hold all in memory that came with it.
        let frame = if end < self.buffer.capacity() / 2 {
            let frame = Bytes::copy_from_slice(&self.buffer[prefix..end]);
            self.buffer.advance(end);
            frame
        } else {
            self.buffer.split_to(end).freeze().slice(prefix..)
        };
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Ok(Some(frame))
    }
}

fn read_prefix(bytes: &[u8]) -> Result<Option<(u64, usize)>, WireError> {
    match varint::read(&bytes[..bytes.len().min(MAX_PREFIX)])? {
        Some((len, prefix)) if prefix != varint::len(len) => Err(WireError::Varint),
        None if bytes.len() >= MAX_PREFIX => Err(WireError::TooLong),
        found => Ok(found),
    }
}

/// Can a frame of `protocol` be so long, if at most `max`? Only pubsub has empty ones: an RPC of nothing.
pub(super) fn check_len(protocol: Protocol, len: usize, max: usize) -> Result<(), WireError> {
    match (len, protocol) {
        (0, Protocol::Kad | Protocol::Bitswap | Protocol::Registry) => Err(WireError::Missing),
        _ if len > max => Err(WireError::TooLong),
        _ => Ok(()),
    }
}

/// Appends a message as a frame.
///
/// # Errors
/// `TooLong` or `Missing` when no peer would accept the frame; nothing is appended then.
pub fn encode_frame(message: &Message, out: &mut Vec<u8>) -> Result<(), WireError> {
    let start = out.len();
    message.encode_into(out);
    let len = out.len() - start;
    let protocol = message.protocol();
    check_len(protocol, len, protocol.max_sent_frame()).inspect_err(|_| out.truncate(start))?;
    let mut prefix = Vec::with_capacity(MAX_PREFIX);
    varint::write(len as u64, &mut prefix);
    out.splice(start..start, prefix);
    Ok(())
}
