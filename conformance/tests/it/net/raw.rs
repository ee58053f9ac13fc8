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

/// A secured connection. Inbound streams are accepted and never read.
pub(crate) struct Raw {
    open: mpsc::Sender<oneshot::Sender<SubstreamBox>>,
}

impl Raw {
    pub(crate) async fn dial(addr: &Multiaddr) -> Self {
        Self::try_dial(addr).await.expect("refused")
    }

    pub(crate) async fn try_dial(addr: &Multiaddr) -> Option<Self> {
        let mut transport = Tokio::current().transport(&Keypair::generate_ed25519()).unwrap();
        let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let (_, muxer) = transport.dial(addr.clone(), opts).unwrap().await.ok()?;
        let (open, orders) = mpsc::channel(16);
        tokio::spawn(drive(muxer, orders));
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

async fn drive(mut muxer: StreamMuxerBox, mut orders: mpsc::Receiver<oneshot::Sender<SubstreamBox>>) {
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
                    accepted.push(stream);
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
