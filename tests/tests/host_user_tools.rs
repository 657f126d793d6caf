//! bashreadline and sslsnoop against programs whose lines and calls are known.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use kscope_tests::program::{Folder, Tracer};
use kscope_tests::{kscope_or_skip, skip};
use serde_json::Value;

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn bashreadline_shows_entered_lines() {
    let kscope = kscope_or_skip!();
    if !Path::new("/bin/bash").exists() {
        skip!("bash", "there is no /bin/bash");
    }
    let words = ["bashreadline", "--json", "--line", "kscope_marker"];
    let mut tracer = Tracer::start(&kscope, &words).expect("bashreadline attaches");
    let mut shell = Command::new("/bin/bash")
        .args(["--norc", "--noprofile", "-i"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("bash starts");
    let mut input = shell.stdin.take().expect("its input");
    input
        .write_all(b": other\n: kscope_marker one\nexit\n")
        .expect("it reads");
    drop(input);
    shell.wait().expect("it ends");
    let row = json(&tracer.line().expect("a row"));
    assert_eq!(row["pid"], shell.id(), "{row}");
    assert_eq!(row["line"], ": kscope_marker one", "{row}");
    let left = tracer.interrupt();
    assert!(left.lines.is_empty(), "{:?}", left.lines);
}

#[test]
fn sslsnoop_shows_calls_of_a_handshake() {
    let kscope = kscope_or_skip!();
    let folder = Folder::new("sslsnoop");
    let (key, certificate) = (folder.path().join("key"), folder.path().join("cert"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
        .args([
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            "/CN=x",
            "-keyout",
        ])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        skip!("openssl", "there is no openssl to make a certificate");
    }
    let mut tracer = match Tracer::start(&kscope, &["sslsnoop", "--json", "--comm", "openssl"]) {
        Ok(tracer) => tracer,
        Err(left) => {
            let text = format!("{left:?}");
            assert!(text.contains("no probe that can be attached"), "{text}");
            skip!("libssl", "openssl has no libssl of its own file");
        }
    };
    let port = 40_000 + std::process::id() % 20_000;
    let mut server = Command::new("openssl")
        .args([
            "s_server",
            "-quiet",
            "-naccept",
            "1",
            "-accept",
            &port.to_string(),
            "-key",
        ])
        .arg(&key)
        .arg("-cert")
        .arg(&certificate)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a server");
    let address = format!("127.0.0.1:{port}");
    // The server may not listen yet; a client ends by the clock.
    for _ in 0..3 {
        let client = format!("echo kscope | timeout 1 openssl s_client -quiet -connect {address}");
        let client = Command::new("sh")
            .args(["-c", &client])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        client.expect("a client");
    }
    // "kscope" and the end of the line.
    let mut seen = false;
    while !seen {
        let row = json(&tracer.line().expect("a write of 7 bytes"));
        assert_eq!(row["comm"], "openssl", "{row}");
        seen = row["call"] == "SSL_write" && row["result"] == 7;
    }
    drop(tracer.interrupt());
    // It may have ended by itself.
    let _ = server.kill();
    server.wait().expect("reaped");
}
