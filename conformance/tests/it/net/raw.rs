//! A peer that follows no rule but the handshake: connections and streams of bytes.

use std::task::Poll;

use futures::channel::{mpsc, oneshot};
use futures::{AsyncReadExt, AsyncWriteExt, SinkExt, StreamExt, future};
use libp2p_core::muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox};
use libp2p_core::transport::{DialOpts, PortUse};
use libp2p_core::{Endpoint, Transport};
use libp2p_identity::Keypair;
use multiaddr::Multiaddr;
use registry_node::Runtime;
use runtime_tokio::Tokio;

/// What becomes of inbound streams.
#[derive(Clone, Copy)]
enum Inbound {
    /// Accepted and never read.
    Ignored,
    /// Of whatever protocol, and reset at once.
    Reset,
}

/// A secured connection.
pub(crate) struct Raw {
    open: mpsc::Sender<oneshot::Sender<SubstreamBox>>,
}

impl Raw {
    pub(crate) async fn dial(addr: &Multiaddr) -> Self {
        Self::try_dial(addr).await.expect("refused")
    }

    pub(crate) async fn try_dial(addr: &Multiaddr) -> Option<Self> {
        Self::connect(addr, Inbound::Ignored).await
    }

    /// Connects, and agrees to any protocol only to reset the stream.
    pub(crate) async fn dial_and_reset(addr: &Multiaddr) -> Self {
        Self::connect(addr, Inbound::Reset).await.expect("refused")
    }

    async fn connect(addr: &Multiaddr, inbound: Inbound) -> Option<Self> {
        let mut transport = Tokio::current().transport(&Keypair::generate_ed25519()).unwrap();
        let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let (_, muxer) = transport.dial(addr.clone(), opts).unwrap().await.ok()?;
        let (open, orders) = mpsc::channel(16);
        tokio::spawn(drive(muxer, orders, inbound));
        Some(Self { open })
    }

    /// Opens a stream of a protocol. `None` when the connection is gone or the protocol is refused.
    pub(crate) async fn stream(&mut self, protocol: &str) -> Option<SubstreamBox> {
        let (reply, stream) = oneshot::channel();
        self.open.send(reply).await.ok()?;
        let mut stream = stream.await.ok()?;
        for line in ["/multistream/1.0.0", protocol] {
            let line = [&[line.len() as u8 + 1], line.as_bytes(), b"\n"].concat();
            stream.write_all(&line).await.ok()?;
            stream.flush().await.ok()?;
            let mut answer = vec![0; line.len()];
            stream.read_exact(&mut answer[..1]).await.ok()?;
            let length = usize::from(answer[0]);
            answer.resize(1 + length, 0);
            stream.read_exact(&mut answer[1..]).await.ok()?;
            if answer != line {
                return None;
            }
        }
        Some(stream)
    }
}

/// Agrees to the version of the negotiation, then to the first protocol.
async fn agree(mut stream: SubstreamBox) -> std::io::Result<()> {
    for _ in 0..2 {
        let mut line = vec![0];
        stream.read_exact(&mut line).await?;
        line.resize(1 + usize::from(line[0]), 0);
        stream.read_exact(&mut line[1..]).await?;
        stream.write_all(&line).await?;
        stream.flush().await?;
    }
    Ok(())
}

async fn drive(mut muxer: StreamMuxerBox, mut orders: mpsc::Receiver<oneshot::Sender<SubstreamBox>>, inbound: Inbound) {
    let mut waiting: Vec<oneshot::Sender<SubstreamBox>> = Vec::new();
    let mut accepted = Vec::new();
    future::poll_fn(|cx| {
        loop {
            while let Poll::Ready(order) = orders.poll_next_unpin(cx) {
                let Some(order) = order else { return Poll::Ready(()) };
                waiting.push(order);
            }
            match muxer.poll_unpin(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => continue,
                Poll::Pending => {}
            }
            match muxer.poll_inbound_unpin(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(stream)) => {
                    match inbound {
                        Inbound::Ignored => accepted.push(stream),
                        Inbound::Reset => drop(tokio::spawn(agree(stream))),
                    }
                    continue;
                }
                Poll::Pending => {}
            }
            if waiting.is_empty() {
                return Poll::Pending;
            }
            match muxer.poll_outbound_unpin(cx) {
                Poll::Ready(Ok(stream)) => {
                    let _ = waiting.remove(0).send(stream);
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}
