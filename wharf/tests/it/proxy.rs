//! A TCP relay that limits how fast bytes come from the server, and can be cut.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Relays one local port to another until cut or dropped.
pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
}

struct State {
    target: u16,
    bytes_per_second: u64,
    relayed: AtomicU64,
    streams: Mutex<Option<Vec<TcpStream>>>,
}

impl Proxy {
    pub(crate) fn start(target: u16, bytes_per_second: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let streams = Mutex::new(Some(Vec::new()));
        let state = Arc::new(State { target, bytes_per_second, relayed: AtomicU64::new(0), streams });
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if !shared.relay(client) {
                    return;
                }
            }
        });
        Self { port, state }
    }

    pub(crate) fn addr(&self, peer_id: &str) -> String {
        format!("/ip4/127.0.0.1/tcp/{}/p2p/{peer_id}", self.port)
    }

    /// Bytes that came from the server so far.
    pub(crate) fn relayed(&self) -> u64 {
        self.state.relayed.load(Ordering::Relaxed)
    }

    /// Ends all connections and takes no more.
    pub(crate) fn cut(&self) {
        let streams = self.state.streams.lock().expect("no panic").take();
        for stream in streams.into_iter().flatten() {
            // A connection that has ended already is as good.
            let _ = stream.shutdown(Shutdown::Both);
        }
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

impl State {
    /// False once cut.
    fn relay(self: &Arc<Self>, client: TcpStream) -> bool {
        let mut streams = self.streams.lock().expect("no panic");
        let Some(streams) = streams.as_mut() else { return false };
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.target)) else { return true };
        let clone = |stream: &TcpStream| stream.try_clone().expect("descriptors are left");
        streams.extend([clone(&client), clone(&server)]);
        let (up_from, up_to) = (clone(&client), clone(&server));
        std::thread::spawn(move || copy(up_from, up_to, |_| {}));
        let state = self.clone();
        std::thread::spawn(move || {
            let mut free_at = Instant::now();
            copy(server, client, |bytes| {
                state.relayed.fetch_add(bytes, Ordering::Relaxed);
                free_at =
                    free_at.max(Instant::now()) + Duration::from_micros(bytes * 1_000_000 / state.bytes_per_second);
                std::thread::sleep(free_at.saturating_duration_since(Instant::now()));
            });
        });
        true
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut pace: impl FnMut(u64)) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        pace(bytes as u64);
        if to.write_all(&buffer[..bytes]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
