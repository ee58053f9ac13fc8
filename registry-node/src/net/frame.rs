//! Messages on a stream: an unsigned varint, then the body.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Duration;

use super::credit::{Allowance, Held};
use bytes::Bytes;
use futures::future::{Either, select};
use futures::{AsyncRead, AsyncWrite, AsyncWriteExt, poll};
use futures_timer::Delay;
use registry_core::wire::{FrameDecoder, encode_frame};
use registry_core::{Message, Protocol, WireError};

/// Read at once. The buffer grows only by what has arrived, never by what a prefix promises.
const CHUNK: usize = 16 * 1024;
/// A peer that moves a frame slower than this loses the stream.
const MIN_BYTES_PER_SEC: usize = 32 * 1024;
/// Allowed for any frame, however short.
const FRAME_BASE: Duration = Duration::from_secs(10);

/// How long a frame of this size may take once it has begun.
fn frame_time(len: usize) -> Duration {
    FRAME_BASE + Duration::from_secs((len / MIN_BYTES_PER_SEC) as u64)
}

/// Why no further message can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ReadError {
    /// What came is no message; the peer's fault.
    Wire(WireError),
    /// The stream or the connection broke.
    Reset,
}

/// Reads and writes messages of one protocol on one stream.
#[derive(Debug)]
pub(super) struct Framed<S> {
    stream: S,
    protocol: Protocol,
    decoder: FrameDecoder,
    held: Held,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Framed<S> {
    pub(super) fn new(stream: S, protocol: Protocol, allowance: &Allowance) -> Self {
        Self { stream, protocol, decoder: FrameDecoder::new(protocol), held: allowance.hold() }
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The next message and the length of its frame; `None` at the end of the stream. Waits for its first byte without
    /// limit; a frame that has begun has a deadline.
    pub(super) async fn read(&mut self) -> Result<Option<(Message, usize)>, ReadError> {
        let mut deadline = None;
        loop {
            if let Some(frame) = self.decoder.poll().map_err(ReadError::Wire)? {
                let length = frame.len();
                self.held.release();
                let message = Message::decode(self.protocol, frame).map_err(ReadError::Wire)?;
                return Ok(Some((message, length)));
            }
            if deadline.is_none() && self.has_begun() {
                deadline = Some(Delay::new(frame_time(self.protocol.max_frame())));
            }
            match until(&mut deadline, self.read_chunk()).await {
                None => return Err(ReadError::Wire(WireError::Truncated)),
                Some(Err(_)) => return Err(ReadError::Reset),
                Some(Ok(0)) => return self.decoder.finish().map(|()| None).map_err(ReadError::Wire),
                Some(Ok(read)) if self.held.grow(read) => {}
                Some(Ok(_)) => return Err(ReadError::Reset),
            }
        }
    }

    fn has_begun(&self) -> bool {
        self.decoder.finish().is_err()
    }

    async fn read_chunk(&mut self) -> std::io::Result<usize> {
        poll_fn(|cx| {
            let mut chunk = [0; CHUNK];
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk))?;
            self.decoder.push(&chunk[..read]);
            Poll::Ready(Ok(read))
        })
        .await
    }

    /// Writes a frame made by [`encode`]. False when the peer does not take it in time or the stream broke.
    pub(super) async fn write(&mut self, frame: &[u8]) -> bool {
        let write = async {
            self.stream.write_all(frame).await?;
            self.stream.flush().await
        };
        matches!(within(frame_time(frame.len()), write).await, Some(Ok(())))
    }

    /// Ends the writing side and takes whatever still comes, for a short time: dropping a stream at once would reset it,
    /// and the reset might overtake what was written.
    pub(super) async fn close(mut self) {
        let linger = async {
            if self.stream.close().await.is_err() {
                return;
            }
            while matches!(self.read_chunk().await, Ok(read) if read > 0) {
                self.decoder = FrameDecoder::new(self.protocol);
            }
        };
        within(FRAME_BASE, linger).await;
    }
}

/// The frame of a message, prefix included; `None` when no peer would accept it.
pub(super) fn encode(message: &Message) -> Option<Bytes> {
    let mut frame = Vec::new();
    encode_frame(message, &mut frame).ok()?;
    Some(frame.into())
}

/// `None` when the work takes longer.
pub(crate) async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    // Most writes end at once, and a timer costs more than they do: it wakes the timers' thread twice.
    match poll!(&mut work) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => until(&mut Some(Delay::new(time)), work).await,
    }
}

/// `None` when the deadline passes first.
async fn until<T>(deadline: &mut Option<Delay>, work: impl Future<Output = T>) -> Option<T> {
    let Some(deadline) = deadline else { return Some(work.await) };
    match select(pin!(work), deadline).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}
