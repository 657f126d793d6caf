//! A guest says what it is, and waits for the host to dump its memory: dump_guests.rs compares them.
//!
//! It comes first: what other tests leave behind, and that a kernel is locked down, cannot be undone.
//@ first
//@ modules: qemu_fw_cfg, nbd

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::num::NonZero;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use kscope_tests::program::Folder;
use kscope_tests::stuck::Stuck;
use kscope_tests::{dumps, skip};
use rustix::fs::OFlags;
use rustix::net::{AddressFamily, Protocol, SocketType};

/// `ETH_P_ALL`, in the network's order of bytes.
fn every_frame() -> Protocol {
    let number = u32::from(3u16.to_be());
    Protocol::from_raw(NonZero::new(number).expect("not 0"))
}

/// Says that all is ready, and waits until the host has dumped this machine: it sends a break then.
fn be_dumped(port: &Path) {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    let mut port: File = options
        .custom_flags(OFlags::NOCTTY.bits() as i32)
        .open(port)
        .expect("the port");
    port.write_all(b"@@ ready\n").expect("said");
    let mut byte = [1];
    port.read_exact(&mut byte).expect("the host answers");
}

/// Sends a folder to the host, packed.
fn send(folder: &Path, port: &Path) {
    let packs = "tar cz -C \"$0\" . | base64 | sed 's/^/> /' > \"$1\"";
    let status = Command::new("sh")
        .args(["-c", packs])
        .args([folder, port])
        .status()
        .expect("a shell");
    assert!(status.success(), "{status}");
}

#[test]
fn it_says_what_it_is_and_is_dumped() {
    let Some(port) = std::env::var_os("KSCOPE_DUMP_PORT") else {
        skip!("dump", "nobody dumps this machine");
    };
    let port = Path::new(&port);
    let programs = Folder::new("stuck");
    let said = Folder::new("said");
    let stuck = Stuck::start(&programs);
    let made = stuck
        .as_ref()
        .map_or("lacks a C compiler", |(_, made)| made);
    println!("{made}");
    std::fs::write(said.path().join("stuck"), made).expect("written");
    let others = (
        TcpListener::bind("[::1]:0").expect("a port"),
        UdpSocket::bind("127.0.0.1:0").expect("a port"),
        UnixListener::bind(programs.path().join("socket")).expect("a socket"),
    );
    let kinds = [
        (AddressFamily::INET, Some(rustix::net::ipproto::ICMP)),
        (AddressFamily::PACKET, Some(every_frame())),
    ];
    let without_ports = kinds.map(|(family, protocol)| {
        rustix::net::socket(family, SocketType::RAW, protocol).expect("a socket")
    });
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its own");
    let stream = TcpStream::connect(address).expect("connected");
    dumps::say_all(said.path());
    be_dumped(port);
    drop((stream, listener, others, without_ports));
    if let Some((stuck, _)) = stuck {
        stuck.end();
    }
    send(said.path(), port);
}
