//! The emulator's monitor, over its standard input and output (QEMU's docs/interop/qmp-spec.txt).

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long the emulator may take for what takes it no time.
const PATIENCE: Duration = Duration::from_secs(20);

/// A monitor that takes commands.
pub(super) struct Monitor {
    to: ChildStdin,
    from: Receiver<String>,
    /// Commands so far: an answer has the number of its command.
    asked: u64,
}

impl Monitor {
    /// Takes the monitor of an emulator that was started with `-qmp stdio` and pipes.
    pub(super) fn of(child: &mut Child) -> Result<Self, String> {
        let to = child.stdin.take().ok_or("the emulator has no input")?;
        let output = child.stdout.take().ok_or("the emulator has no output")?;
        let (sender, from) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut monitor = Self { to, from, asked: 0 };
        monitor.ask("qmp_capabilities", &json!({}), PATIENCE)?;
        Ok(monitor)
    }

    /// Stops the guest's processors.
    pub(super) fn stop(&mut self) -> Result<(), String> {
        self.ask("stop", &json!({}), PATIENCE)
    }

    /// Lets the guest's processors run.
    pub(super) fn go_on(&mut self) -> Result<(), String> {
        self.ask("cont", &json!({}), PATIENCE)
    }

    /// Sends a break over a serial port.
    pub(super) fn send_break(&mut self, port: &str) -> Result<(), String> {
        self.ask("chardev-send-break", &json!({ "id": port }), PATIENCE)
    }

    /// Sends each of the guest's processors an interrupt that it cannot mask.
    pub(super) fn interrupt(&mut self) -> Result<(), String> {
        self.ask("inject-nmi", &json!({}), PATIENCE)
    }

    /// Writes the guest's memory to a file.
    pub(super) fn dump(&mut self, file: &str, format: &str, limit: Duration) -> Result<(), String> {
        let arguments = json!({
            "paging": false,
            "protocol": format!("file:{file}"),
            "format": format,
        });
        self.ask("dump-guest-memory", &arguments, limit)
    }

    /// Sends a command and waits for its answer.
    fn ask(&mut self, command: &str, arguments: &Value, limit: Duration) -> Result<(), String> {
        self.asked += 1;
        let line = json!({ "execute": command, "arguments": arguments, "id": self.asked });
        writeln!(self.to, "{line}").map_err(|error| format!("{command}: {error}"))?;
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.from.recv_timeout(left).map_err(|error| match error {
                RecvTimeoutError::Timeout => {
                    format!("{command}: no answer in {} s", limit.as_secs())
                }
                RecvTimeoutError::Disconnected => format!("{command}: the emulator has ended"),
            })?;
            if let Some(answer) = answer(&line, self.asked) {
                return answer.map_err(|why| format!("{command}: {why}"));
            }
        }
    }
}

/// Reads the answer to a command of this number; other lines tell what happens, or come too late.
fn answer(line: &str, asked: u64) -> Option<Result<(), String>> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["id"] != asked {
        return None;
    }
    if let Some(error) = message.get("error") {
        let why = error["desc"].as_str().unwrap_or("it failed");
        return Some(Err(why.to_string()));
    }
    message.get("return").map(|_| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::answer;

    #[test]
    fn answers_are_told_from_events() {
        let check = |line, expected: Option<Result<(), &str>>| {
            let expected = expected.map(|answer| answer.map_err(str::to_string));
            assert_eq!(answer(line, 7), expected, "{line}");
        };
        check(r#"{"return": {}, "id": 7}"#, Some(Ok(())));
        check(r#"{"return": {}, "id": 6}"#, None);
        check(r#"{"QMP": {"version": {}, "capabilities": []}}"#, None);
        check(r#"{"event": "STOP", "timestamp": {"seconds": 1}}"#, None);
        check(
            r#"{"error": {"class": "GenericError", "desc": "no space"}, "id": 7}"#,
            Some(Err("no space")),
        );
        check("", None);
    }
}
