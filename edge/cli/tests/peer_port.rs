//! Strangers on the peer port: whatever they say, the member closes the connection and goes on.
#![allow(clippy::unwrap_used)] // in a test, that is how it fails

mod support;

use base::{ClusterId, Index, LogPosition, MemberId, Message, MessageKind, PeerMessage, Term};
use bytes::BytesMut;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;
use support::*;
use wire::{Frame, FrameReader, Hello, HelloRefusal, HelloReply, Origin, Purpose};

/// Says `bytes` and returns what comes back until the connection ends.
fn said(peer: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(peer).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    // The member may have closed before all is said.
    let _ = socket.write_all(bytes);
    let _ = socket.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    answer
}

fn frame(origin: Origin, frame: Frame) -> Vec<u8> {
    let mut out = BytesMut::new();
    wire::encode(origin, &frame, &mut out);
    out.to_vec()
}

/// Cluster and member, as the member itself tells a newcomer.
fn own(member: &Lone) -> Origin {
    let text = get(member.peer, "/members").expect("the members, for one that joins");
    let after = |mark: &str| {
        let rest = text.split_once(mark).expect(mark).1;
        let word = rest.split_whitespace().next().unwrap();
        u64::from_str_radix(word, 16).unwrap()
    };
    Origin {
        cluster: ClusterId(after("cluster ")),
        member: MemberId(after("member ")),
    }
}

fn reply(answer: &[u8]) -> Option<HelloReply> {
    let mut input = BytesMut::from(answer);
    match FrameReader::of_stranger().next(&mut input) {
        Ok(Some((_, Frame::HelloReply(reply)))) => Some(reply),
        _ => None,
    }
}

#[test]
fn a_hostile_peer_is_shut_out_and_costs_nothing() {
    let scratch = Scratch::new();
    let member = Lone::start(&scratch);
    let own = own(&member);
    let stranger = Origin {
        cluster: own.cluster,
        member: MemberId(7),
    };
    let hello = |to| Frame::Hello(Hello::new(Purpose::Messages, to, "mallory"));

    // Not our protocol at all.
    assert_eq!(said(member.peer, b"\x16\x03\x01\x02\x00 some TLS"), b"");
    assert_eq!(said(member.peer, &[0; 5000]), b"");
    assert_eq!(said(member.peer, b"QR"), b"");

    // Another cluster, another member: refused with the reason.
    let foreigner = Origin {
        cluster: ClusterId(1),
        ..stranger
    };
    let answer = said(member.peer, &frame(foreigner, hello(own.member)));
    assert_eq!(
        reply(&answer),
        Some(HelloReply::Refused(HelloRefusal::WrongCluster))
    );
    let answer = said(member.peer, &frame(stranger, hello(MemberId(99))));
    assert_eq!(
        reply(&answer),
        Some(HelloReply::Refused(HelloRefusal::WrongMember))
    );

    // A hello that was flipped anywhere.
    let good = frame(stranger, hello(own.member));
    for at in [0, 2, 3, 8, 12, 16, 24, 32, 36, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        assert_eq!(said(member.peer, &bad), b"", "byte {at}");
    }

    // In, and then: a claim of 4 GiB, a frame of somebody else, a term from the far future.
    let mut huge = frame(stranger, hello(own.member));
    huge.extend_from_slice(&[b'Q', b'R', 1, 3, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    huge.extend_from_slice(&[0; 24]);
    assert!(matches!(
        reply(&said(member.peer, &huge)),
        Some(HelloReply::Welcome { .. })
    ));
    let mut message = Message::new(MessageKind::Append, MemberId(7), own.member, Term(u64::MAX));
    message.commit = Index(u64::MAX);
    message.position = LogPosition {
        term: Term(u64::MAX),
        index: Index(u64::MAX),
    };
    for from in [
        stranger,
        Origin {
            member: MemberId(8),
            ..stranger
        },
    ] {
        let mut bytes = frame(stranger, hello(own.member));
        let message = PeerMessage::Raft(Box::new(Message {
            from: from.member,
            ..message.clone()
        }));
        bytes.extend(frame(from, Frame::Message(message)));
        said(member.peer, &bytes);
    }

    assert!(is_healthy(member.client), "the member goes on");
    // The log is written by a thread of its own: each sentence comes when it comes.
    for sentence in [
        "a connection to the peer port is closed",
        "it belongs to another cluster",
        "not a frame of ours",
    ] {
        until(sentence, || {
            let text = fs::read_to_string(&member.log).unwrap();
            text.contains(sentence).then_some(())
        });
    }
}

#[test]
fn a_crowd_of_silent_connections_does_not_keep_a_member_out() {
    let scratch = Scratch::new();
    let member = Lone::start(&scratch);
    let own = own(&member);
    let crowd: Vec<TcpStream> = (0..200)
        .map(|_| TcpStream::connect(member.peer).unwrap())
        .collect();
    assert!(is_healthy(member.client));
    let stranger = Origin {
        cluster: own.cluster,
        member: MemberId(7),
    };
    let hello = frame(
        stranger,
        Frame::Hello(Hello::new(Purpose::Messages, own.member, "late")),
    );
    // The silent ones are shown the door after five seconds.
    until("somebody with manners gets in", || {
        let answer = said(member.peer, &hello);
        matches!(reply(&answer), Some(HelloReply::Welcome { .. })).then_some(())
    });
    drop(crowd);
}
