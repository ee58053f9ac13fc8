//! Two shells exchange frames.

use std::collections::BTreeSet;

use registry_core::action::SendClass;
use registry_core::input::{DialError, GossipVersion, ProtocolSet, RequestError};
use registry_core::{Input, PeerId};
use registry_node::net::{NetAction, NetConfig};

use super::shell::{Shell, block, compare_nothing, find_node, subscription};
use crate::runtimes::Mix;

async fn pair(mix: &Mix) -> (Shell, Shell) {
    let (mut a, mut b) = (Shell::start(mix).await, Shell::start(mix).await);
    a.connect(&mut b).await;
    (a, b)
}

pub(crate) async fn requests_of_both_protocols_are_answered_each_with_its_own(mix: Mix) {
    let (mut a, b) = pair(&mix).await;
    let b = b.echo();
    for n in 0..60 {
        let msg = if n % 3 == 0 { compare_nothing() } else { find_node(&[n; 20]) };
        a.request(u64::from(n), b.id, msg).await;
    }
    let mut answered = BTreeSet::new();
    while answered.len() < 60 {
        let (id, msg) = a
            .until(|input| match input {
                Input::Response { id, msg } => Some((id.0, msg.clone())),
                Input::RequestFailed { .. } => panic!("{input:?}"),
                _ => None,
            })
            .await;
        let expected = if id % 3 == 0 { compare_nothing() } else { find_node(&[id as u8; 20]) };
        assert_eq!(msg, expected);
        assert!(answered.insert(id));
    }
}

pub(crate) async fn too_many_waiting_requests_are_refused_and_the_rest_is_answered(mix: Mix) {
    let (mut a, b) = pair(&mix).await;
    let b = b.echo();
    const SENT: u64 = 500;
    for n in 0..SENT {
        a.request(n, b.id, find_node(b"key")).await;
    }
    let (mut answered, mut refused) = (0, 0);
    while answered + refused < SENT {
        match a.next().await {
            Input::Response { .. } => answered += 1,
            Input::RequestFailed { why: RequestError::Overloaded, .. } => refused += 1,
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(answered >= 64, "{answered}");
}

pub(crate) async fn a_request_that_is_closed_without_an_answer_fails_at_once(mix: Mix) {
    let (mut a, mut b) = pair(&mix).await;
    a.request(1, b.id, find_node(b"first")).await;
    let token = b
        .until(|input| match input {
            Input::Request { token, .. } => Some(*token),
            _ => None,
        })
        .await;
    b.act(NetAction::Respond { token, msg: None }).await;
    let why = a
        .until(|input| match input {
            Input::RequestFailed { id, why } if id.0 == 1 => Some(*why),
            _ => None,
        })
        .await;
    assert_eq!(why, RequestError::Reset);
    // A second answer to the same request changes nothing.
    b.act(NetAction::Respond { token, msg: Some(find_node(b"late")) }).await;
    let b = b.echo();
    assert_eq!(a.ask(2, b.id, find_node(b"second")).await, Ok(find_node(b"second")));
}

pub(crate) async fn one_way_messages_arrive_in_order_and_notices_on_streams_of_their_own(mix: Mix) {
    let (mut a, mut b) = pair(&mix).await;
    for n in 0..50 {
        a.send(b.id, subscription(&format!("topic {n}")), SendClass::Control).await;
    }
    for n in 0..50 {
        let msg = b
            .until(|input| match input {
                Input::Received { msg, .. } => Some(msg.clone()),
                _ => None,
            })
            .await;
        assert_eq!(msg, subscription(&format!("topic {n}")));
    }
    let big = block(&vec![7; 1024 * 1024]);
    a.send(b.id, big.clone(), SendClass::Block).await;
    a.send(b.id, find_node(b"notice"), SendClass::Own).await;
    let (mut got_block, mut got_notice) = (false, false);
    while !(got_block && got_notice) {
        match b.next().await {
            Input::Received { msg, .. } => {
                assert_eq!(msg, big);
                got_block = true;
            }
            Input::Request { msg, token, .. } => {
                assert_eq!(msg, find_node(b"notice"));
                b.act(NetAction::Respond { token, msg: Some(msg) }).await;
                got_notice = true;
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

pub(crate) async fn peers_learn_what_the_other_serves_and_when_that_changes(mix: Mix) {
    let (mut a, mut b) = (Shell::start(&mix).await, Shell::start(&mix).await);
    a.dial(0, None, vec![b.addr.clone()]).await;
    let served = |input: &Input| match input {
        Input::Identified { info, .. } => Some(info.clone()),
        _ => None,
    };
    let info = a.until(served).await;
    let all = ProtocolSet { kad: true, gossip: Some(GossipVersion::V1_2), bitswap: true, registry: true };
    assert_eq!(info.protocols, all);
    assert_eq!(info.agent, "test");
    assert_eq!(info.listen_addrs, [b.addr.clone()]);
    b.until(served).await;

    b.act(NetAction::SetServerMode(false)).await;
    assert_eq!(a.until(served).await.protocols, ProtocolSet { kad: false, ..all });
    assert_eq!(a.ask(1, b.id, find_node(b"key")).await, Err(RequestError::Unsupported));
    b.act(NetAction::SetServerMode(true)).await;
    assert_eq!(a.until(served).await.protocols, all);
    let b = b.echo();
    assert_eq!(a.ask(2, b.id, find_node(b"key")).await, Ok(find_node(b"key")));
}

pub(crate) async fn dials_fail_for_the_right_reason(mix: Mix) {
    let (mut a, b) = (Shell::start(&mix).await, Shell::start(&mix).await);
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port()).parse().unwrap()
    };
    let stranger = PeerId::from_ed25519(&[9; 32]);
    let own = a.addr.clone();
    // It takes connections, and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = (format!("/ip4/127.0.0.1/tcp/{}", silent.local_addr().unwrap().port()).parse().unwrap(), silent);
    for (dial, peer, addrs, expected) in [
        (1, Some(stranger), vec![b.addr.clone()], DialError::WrongPeer),
        (2, None, vec![format!("{}/p2p/{stranger}", b.addr).parse().unwrap()], DialError::WrongPeer),
        (3, None, vec![gone], DialError::Unreachable),
        (4, Some(stranger), vec![], DialError::Unreachable),
        (5, None, vec!["/ip4/127.0.0.1/udp/1/quic-v1".parse().unwrap()], DialError::Refused),
        (6, None, vec![own], DialError::Unreachable),
        (7, None, vec![silent.0], DialError::Timeout),
    ] {
        a.dial(dial, peer, addrs).await;
        let (failed, why) = a
            .until(|input| match input {
                Input::DialFailed { dial, why } => Some((dial.0, *why)),
                Input::Connected { .. } => panic!("{input:?}"),
                _ => None,
            })
            .await;
        assert_eq!((failed, why), (dial, expected));
    }
}

pub(crate) async fn whoever_answers_at_another_address_does_not_end_a_dial(mix: Mix) {
    let (mut a, b) = (Shell::start(&mix).await, Shell::start(&mix).await);
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(Shell::start(&mix).await);
    }
    let addrs = others.iter().chain([&a, &b]).map(|shell| shell.addr.clone()).collect();
    a.dial(1, Some(b.id), addrs).await;
    let peer = a.until(|input| match input {
        Input::Connected { peer, .. } => Some(*peer),
        Input::DialFailed { .. } => panic!("{input:?}"),
        _ => None,
    });
    assert_eq!(peer.await, b.id);
}

pub(crate) async fn a_disconnect_ends_requests_and_is_told_once(mix: Mix) {
    let (mut a, mut b) = pair(&mix).await;
    a.request(1, b.id, find_node(b"never answered")).await;
    b.until(|input| matches!(input, Input::Request { .. }).then_some(())).await;
    b.act(NetAction::Disconnect(a.id)).await;
    let mut failed = None;
    let gone = a.until(|input| match input {
        Input::RequestFailed { id, why } => {
            failed = Some((id.0, *why));
            None
        }
        Input::Disconnected { peer } => Some(*peer),
        _ => None,
    });
    assert_eq!(gone.await, b.id);
    assert!(matches!(failed, Some((1, RequestError::Disconnected | RequestError::Reset))), "{failed:?}");
    b.until(|input| matches!(input, Input::Disconnected { .. }).then_some(())).await;
    assert_eq!(a.ask(2, b.id, find_node(b"x")).await, Err(RequestError::Disconnected));
    a.connect(&mut b).await;
}

pub(crate) async fn attack_60_two_peers_that_dial_each_other_at_once_are_up_once_and_down_once(mix: Mix) {
    for _ in 0..5 {
        let (mut a, mut b) = (Shell::start(&mix).await, Shell::start(&mix).await);
        a.dial(1, Some(b.id), vec![b.addr.clone()]).await;
        b.dial(1, Some(a.id), vec![a.addr.clone()]).await;
        // Each dial is answered, whichever connection was first.
        for shell in [&mut a, &mut b] {
            shell
                .until(|input| {
                    matches!(input, Input::Connected { side: registry_core::input::Side::Dialer, .. }).then_some(())
                })
                .await;
        }
        let (a_id, b) = (a.id, b.echo());
        for n in 0..10 {
            assert_eq!(a.ask(n, b.id, find_node(b"key")).await, Ok(find_node(b"key")));
        }
        a.act(NetAction::Disconnect(b.id)).await;
        a.until(|input| matches!(input, Input::Disconnected { .. }).then_some(())).await;
        let mut b = b;
        let gone = b.until(|input| match input {
            Input::Disconnected { peer } => Some(*peer),
            _ => None,
        });
        assert_eq!(gone.await, a_id);
    }
}

pub(crate) async fn a_second_connection_of_the_same_peer_is_no_news_and_one_too_many_is_refused(mix: Mix) {
    let config = NetConfig { max_per_peer: 2, ..NetConfig::default() };
    let (mut a, b) = (Shell::start(&mix).await, Shell::with(&mix, config).await);
    let mut b = b.echo();
    a.dial(1, Some(b.id), vec![b.addr.clone()]).await;
    a.until(|input| matches!(input, Input::Connected { .. }).then_some(())).await;
    a.dial(2, Some(b.id), vec![b.addr.clone()]).await;
    a.until(|input| matches!(input, Input::Connected { .. }).then_some(())).await;
    b.until(|input| matches!(input, Input::Connected { .. }).then_some(())).await;
    a.dial(3, Some(b.id), vec![b.addr.clone()]).await;
    // The third is secured before it is refused, so it is up for a moment on the dialler's side.
    a.until(|input| matches!(input, Input::Connected { .. } | Input::DialFailed { .. }).then_some(())).await;
    for n in 0..10 {
        assert_eq!(a.ask(n, b.id, find_node(b"key")).await, Ok(find_node(b"key")));
    }
    while let Ok(input) = b.inputs.try_recv() {
        assert!(!matches!(input, Input::Connected { .. } | Input::Disconnected { .. }), "{input:?}");
    }
}
