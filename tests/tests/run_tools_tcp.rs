//! tcpconnect, tcpaccept, tcplife, tcpretrans and tcpdrop against connections that are known.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use kscope_tests::kscope_or_skip;
use kscope_tests::program::Tracer;
use rustix::event::{PollFd, PollFlags};
use serde_json::{Value, json};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
/// IPv4 as a socket of IPv6 says it.
const MAPPED: IpAddr = IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x7f00, 1));

/// How many bytes clients send, and servers answer.
const SENT: usize = 70_001;
const ANSWERED: usize = 345;

/// Runs a tool over some work and gives its rows, each with the fields that are asked for.
fn rows(kscope: &Path, words: &[&str], fields: &[&str], work: impl FnOnce()) -> Vec<Value> {
    let mut all = words.to_vec();
    all.push("--json");
    let tracer = Tracer::start(kscope, &all);
    let tracer = tracer.unwrap_or_else(|left| panic!("{left:?}"));
    work();
    let left = tracer.interrupt();
    assert_eq!(left.code, Some(0), "{left:?}");
    let parse = |line: &String| {
        let row: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        let field = |name: &&str| {
            let value = row.get(*name);
            value.unwrap_or_else(|| panic!("no {name}: {row}")).clone()
        };
        Value::Array(fields.iter().map(field).collect())
    };
    left.lines.iter().map(parse).collect()
}

/// The process and its command as the kernel has it: that of the thread.
fn me() -> (u32, String) {
    let comm = std::fs::read_to_string("/proc/thread-self/comm").expect("proc");
    (std::process::id(), comm.trim_end().to_owned())
}

fn listen(address: IpAddr) -> TcpListener {
    TcpListener::bind((address, 0)).expect("a free port")
}

fn address(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("its address")
}

/// A connection: the client's end, the server's end.
fn connected(listener: &TcpListener, to: IpAddr) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect((to, address(listener).port())).expect("it listens");
    let (server, _) = listener.accept().expect("it is connected");
    (client, server)
}

/// Connects, carries the bytes both ways and closes, the client first; gives the client's port.
fn carried(listener: &TcpListener, to: IpAddr) -> u16 {
    let (mut client, mut server) = connected(listener, to);
    let port = client.local_addr().expect("its address").port();
    client.write_all(&[1; SENT]).expect("sent");
    server.read_exact(&mut [0; SENT]).expect("received");
    server.write_all(&[2; ANSWERED]).expect("sent");
    client.read_exact(&mut [0; ANSWERED]).expect("received");
    drop(client);
    assert_eq!(server.read(&mut [0; 1]).expect("the end"), 0);
    port
}

#[test]
fn tcpconnect_shows_who_connects_where() {
    let kscope = kscope_or_skip!();
    let (pid, comm) = me();
    let (four, six) = (listen(V4), listen(V6));
    let (port4, port6) = (address(&four).port(), address(&six).port());
    let process = pid.to_string();
    let work = || {
        connected(&four, V4);
        connected(&six, V6);
        connected(&four, MAPPED);
    };
    let fields = ["pid", "comm", "family", "laddr", "raddr", "rport"];
    let only = ["tcpconnect", "--pid", &process, "--comm", &comm];
    let found = rows(&kscope, &only, &fields, work);
    let row = |family: u8, address: &str, port| json!([pid, comm, family, address, address, port]);
    let mapped = row(4, "127.0.0.1", port4);
    let expected = [mapped.clone(), row(6, "::1", port6), mapped];
    assert_eq!(found, expected);

    let port = port6.to_string();
    let only = ["tcpconnect", "--rport", &port, "--family", "6"];
    assert_eq!(rows(&kscope, &only, &["pid"], work), [json!([pid])]);
    let only = ["tcpconnect", "--rport", &port, "--family", "4"];
    assert!(rows(&kscope, &only, &["pid"], work).is_empty());
}

#[test]
fn tcpaccept_shows_who_accepts_whom() {
    let kscope = kscope_or_skip!();
    let (pid, comm) = me();
    // One that takes both.
    let both = listen(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let port = address(&both).port();
    let mut clients = Vec::new();
    let fields = [
        "pid", "comm", "family", "laddr", "lport", "raddr", "rport", "time",
    ];
    let only = ["tcpaccept", "--lport", &port.to_string(), "--timestamp"];
    let mut found = rows(&kscope, &only, &fields, || {
        for to in [V4, V6] {
            let (client, _server) = connected(&both, to);
            clients.push(client.local_addr().expect("its address").port());
        }
    });
    for row in &mut found {
        let time = row.as_array_mut().and_then(Vec::pop).expect("fields");
        assert_eq!(time.as_str().map(str::len), Some(15), "{time}");
    }
    let row = |family: u8, address: &str, client: u16| {
        json!([pid, comm, family, address, port, address, client])
    };
    let expected = [row(4, "127.0.0.1", clients[0]), row(6, "::1", clients[1])];
    assert_eq!(found, expected);
}

#[test]
fn tcplife_shows_what_connections_carried() {
    let kscope = kscope_or_skip!();
    let (pid, comm) = me();
    let (four, six) = (listen(V4), listen(V6));
    let mut ports = Vec::new();
    let mut took = Duration::ZERO;
    let fields = [
        "pid", "comm", "family", "laddr", "lport", "raddr", "rport", "tx", "rx", "us",
    ];
    let mut found = rows(&kscope, &["tcplife", "--comm", &comm], &fields, || {
        let begun = Instant::now();
        ports.push((carried(&four, V4), address(&four).port()));
        ports.push((carried(&six, V6), address(&six).port()));
        took = begun.elapsed();
    });
    for row in &mut found {
        let us = row.as_array_mut().and_then(Vec::pop).expect("fields");
        let us = u128::from(us.as_u64().expect("a time"));
        assert!(us > 0 && us <= took.as_micros(), "{us} of {took:?}");
    }
    let mut expected = Vec::new();
    for ((client, server), family, at) in [(ports[0], 4, "127.0.0.1"), (ports[1], 6, "::1")] {
        let row = |from: u16, to: u16, tx: usize, rx: usize| {
            json!([pid, comm, family, at, from, at, to, tx, rx])
        };
        expected.push(row(client, server, SENT, ANSWERED));
        expected.push(row(server, client, ANSWERED, SENT));
    }
    // Which end is closed last depends on which packet comes first.
    let key = |row: &Value| row.to_string();
    found.sort_by_key(key);
    expected.sort_by_key(key);
    assert_eq!(found, expected);
}

#[test]
fn tcplife_knows_who_accepted_what_its_peer_reset() {
    let kscope = kscope_or_skip!();
    let (pid, comm) = me();
    let listener = listen(V4);
    let port = address(&listener).port();
    let only = ["tcplife", "--lport", &port.to_string()];
    let fields = ["pid", "comm", "lport", "tx", "rx"];
    let found = rows(&kscope, &only, &fields, || {
        let (mut client, mut server) = connected(&listener, V4);
        client.write_all(b"seven b").expect("sent");
        server.read_exact(&mut [0; 7]).expect("received");
        // Closed without a farewell.
        let now = Some(Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(&client, now).expect("an option");
        drop(client);
        let error = server.read(&mut [0; 1]).expect_err("it is reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    });
    assert_eq!(found, [json!([pid, comm, port, 0, 7])]);
}

#[test]
fn tcpretrans_shows_a_syn_that_nobody_answers() {
    let kscope = kscope_or_skip!();
    let (pid, comm) = me();
    let (four, six) = (listen(V4), listen(V6));
    let fields = [
        "pid", "comm", "family", "laddr", "raddr", "rport", "state", "bytes",
    ];
    let ports = [&four, &six].map(|listener| address(listener).port());
    let process = pid.to_string();
    let only = ["tcpretrans", "--pid", &process, "--comm", &comm];
    let mut found = rows(&kscope, &only, &fields, || {
        // Room for one; the next is not answered, and its SYN is sent again after a second.
        let waiting: Vec<TcpStream> = [&four, &six]
            .map(|listener| {
                rustix::net::listen(listener, 0).expect("it listens");
                let first = TcpStream::connect(address(listener)).expect("the first");
                // The room is taken when the listener knows of it.
                let mut waits = [PollFd::new(listener, PollFlags::IN)];
                assert_eq!(rustix::event::poll(&mut waits, None), Ok(1));
                first
            })
            .into();
        let second = address(&six);
        let other = std::thread::Builder::new().name(comm.clone());
        let limit = Duration::from_millis(1500);
        let other = other.spawn(move || TcpStream::connect_timeout(&second, limit));
        let first = TcpStream::connect_timeout(&address(&four), limit);
        let second = other.expect("a thread").join().expect("its result");
        for result in [first, second] {
            let error = result.expect_err("there is no room");
            assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
        }
        drop(waiting);
    });
    found.sort_by_key(Value::to_string);
    found.dedup();
    let row = |family: u8, address: &str, port| {
        json!([pid, comm, family, address, address, port, "SYN_SENT", 0])
    };
    let expected = [row(4, "127.0.0.1", ports[0]), row(6, "::1", ports[1])];
    assert_eq!(found, expected);
}

#[test]
fn tcpdrop_shows_a_syn_to_a_closed_port() {
    let kscope = kscope_or_skip!();
    let check = |address: IpAddr, family: u8, function: &str| {
        let closed = SocketAddr::new(address, listen(address).local_addr().expect("one").port());
        let port = closed.port().to_string();
        let tracer = Tracer::start(&kscope, &["tcpdrop", "--json", "--dport", &port]);
        let tracer = tracer.unwrap_or_else(|left| panic!("{left:?}"));
        TcpStream::connect(closed).expect_err("it is closed");
        let left = tracer.interrupt();
        let [line] = left.lines.as_slice() else {
            panic!("{left:?}");
        };
        let row: Value = serde_json::from_str(line).expect("a row");
        let found = json!([row["family"], row["saddr"], row["daddr"], row["segment"]]);
        let at = address.to_string();
        assert_eq!(found, json!([family, at, at, "SYN"]), "{row}");
        assert_eq!(row["dport"], closed.port(), "{row}");
        let location = row["location"].as_str().expect("a function");
        assert!(location.starts_with(function), "{row}");
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("proc");
        match release.starts_with("5.10.") {
            true => assert_eq!(row.get("reason"), None, "{row}"),
            false => assert_eq!(row["reason"], "SKB_DROP_REASON_NO_SOCKET", "{row}"),
        }
    };
    check(V4, 4, "tcp_v4_rcv");
    check(V6, 6, "tcp_v6_rcv");
}
