//! Bytes that are no protocol: honest peers are still served, and memory stays.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::node::{Node, random_file};

/// What a flood may cost, in KiB.
const ALLOWED_KIB: u64 = 100 * 1024;

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

#[test]
fn garbage_on_the_port_costs_little_and_honest_peers_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let bytes = random_file(&file, 300_000, 3);
    let node = Node::start(&[]);
    node.publish(&file, "file", "1.0.0");
    let before = resident_kib(node.pid());

    let idle: Vec<_> = (0..1000).map(|_| connect(node.port())).collect();
    let mut noise = vec![0; 1 << 20];
    noise
        .iter_mut()
        .enumerate()
        .for_each(|(i, byte)| *byte = (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[0]);
    let multistream = b"\x13/multistream/1.0.0\n";
    let openings: [&[u8]; 6] = [
        &noise,
        &[0xff; 64],
        &[0x00; 4096],
        b"GET / HTTP/1.1\r\nHost: wharf\r\n\r\n",
        multistream,
        &[multistream.as_slice(), b"\x07/noise\n", &[0xff, 0xff], &noise[..70_000]].concat(),
    ];
    for round in 0..30 {
        let mut stream = connect(node.port());
        // The node may hang up in the middle; that is its right.
        let _ = stream.write_all(openings[round % openings.len()]);
        if round % 2 == 0 {
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
            let _ = stream.read(&mut [0; 1024]);
        }
    }

    let peer = Node::start(&[&node.addr()]);
    peer.wait_for("file");
    peer.get("file", &folder.path().join("out")).ok();
    assert!(std::fs::read(folder.path().join("out/file")).unwrap() == bytes);
    let grown = resident_kib(node.pid()).saturating_sub(before);
    println!("{grown} KiB more with {} idle connections", idle.len());
    assert!(grown < ALLOWED_KIB, "{grown} KiB");
}
