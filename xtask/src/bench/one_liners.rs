//! The one-liners of bpftrace's tutorial, run by both tracers at once: the same lines, as text and as JSON.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::peer::Tracer;
use super::table::Table;
use super::{Pair, Settings};
use crate::cargo;

/// Has a tracer say on standard output that all probes are attached.
const NOTIFY: &str = "__BPFTRACE_NOTIFY_PROBES_ATTACHED";

/// How long attaching may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long is traced after the program has ended: its last events are on their way, and a clock ticks.
const AFTER: Duration = Duration::from_millis(700);

/// What the program is called, by which its lines are known.
const PROGRAM: &str = "traced_beside";

/// The form of one frame of a stack, and of two.
const FRAME: &str = "\nw+w";
const FRAMES: &str = "\nw+w\nw+w";

/// What of the output is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compared {
    All,
    Lines,
    Forms,
}

struct OneLiner {
    name: String,
    compared: Compared,
    script: String,
}

/// Compares all one-liners; what differs is noted.
pub(crate) fn compare(pair: &Pair, _: &Settings, table: &mut Table) -> Result<(), String> {
    let file = cargo::root().join("tests/peers/one_liners.txt");
    let text =
        std::fs::read_to_string(&file).map_err(|why| format!("{}: {why}", file.display()))?;
    let folder = super::scratch()?;
    let program = folder.join(PROGRAM);
    std::fs::copy("/bin/dd", &program).map_err(|why| format!("/bin/dd: {why}"))?;
    let (mut same, mut neither, mut compared) = (0, 0, 0);
    for one in parse(&text)? {
        for json in [false, true] {
            let what = if json { "-f json" } else { "text" };
            let found = trace(pair, &one, &program, &folder, json)?;
            let exact = pair.peer.prints_as_now();
            let [kscope, peer] =
                found.map(|found| found.map(|text| kept(&one, &text, json, exact)));
            match (kscope, peer) {
                (Ok(kscope), Ok(peer)) => {
                    compared += 1;
                    if kscope == peer {
                        same += 1;
                    } else {
                        let pair = (kscope.as_slice(), peer.as_slice());
                        table.note(format!("{}, {what}: {}", one.name, difference(pair)));
                    }
                }
                (Err(_), Err(_)) => neither += 1,
                (Err(why), Ok(_)) => table.note(format!("{}: kscope: {why}", one.name)),
                (Ok(_), Err(why)) => {
                    table.note(format!("{}: only kscope runs it: {why}", one.name));
                }
            }
        }
    }
    table.note(format!(
        "one-liners of bpftrace's tutorial: {same} of {compared} outputs are the same as those of {}; \
         {neither} can be traced by neither here",
        pair.peer.name
    ));
    Ok(())
}

fn parse(text: &str) -> Result<Vec<OneLiner>, String> {
    let mut all: Vec<OneLiner> = Vec::new();
    let lines = text.lines();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(script) = line.strip_prefix("    ") {
            let last = all.last_mut().ok_or("a script without a name")?;
            last.script.push_str(script);
            last.script.push('\n');
            continue;
        }
        let (name, word) = line
            .split_once(": ")
            .ok_or("a name without what is compared")?;
        let compared = match word {
            "all" => Compared::All,
            "lines" => Compared::Lines,
            "forms" => Compared::Forms,
            _ => return Err(format!("nothing is compared as {word}")),
        };
        all.push(OneLiner {
            name: name.to_string(),
            compared,
            script: String::new(),
        });
    }
    Ok(all)
}

/// A tracer at work.
struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

/// Runs the program while both trace it; gives what each printed, or why it did not trace.
fn trace(
    pair: &Pair,
    one: &OneLiner,
    program: &Path,
    folder: &Path,
    json: bool,
) -> Result<[Result<String, String>; 2], String> {
    let io = |why: std::io::Error| format!("{}: {why}", one.name);
    // The shell becomes the program once a line comes.
    let mut held = Command::new("sh")
        .args([
            "-c",
            "read go; exec \"$0\" if=/dev/zero of=/dev/null bs=100 count=50",
        ])
        .arg(program)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(io)?;
    let pid = held.id();
    let start = |tracer: &Tracer, name: &str| start(tracer, one, pid, folder, name, json);
    let running = [start(&pair.kscope, "kscope"), start(&pair.peer, "peer")];
    let mut tracers = Vec::new();
    for tracer in running {
        tracers.push(tracer.map_err(io)?);
    }
    let lists = one.script.starts_with("-l ");
    if !lists {
        let begin = Instant::now();
        for tracer in &mut tracers {
            while !attached(tracer) && begin.elapsed() < PATIENCE {
                if tracer.child.try_wait().map_err(io)?.is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
    if let Some(mut stdin) = held.stdin.take() {
        stdin.write_all(b"\n").map_err(io)?;
    }
    held.wait().map_err(io)?;
    if !lists {
        std::thread::sleep(AFTER);
    }
    let mut found = tracers.into_iter().map(|tracer| end(tracer, lists));
    match (found.next(), found.next()) {
        (Some(kscope), Some(peer)) => Ok([kscope, peer]),
        _ => Err("two tracers".to_string()),
    }
}

fn start(
    tracer: &Tracer,
    one: &OneLiner,
    pid: u32,
    folder: &Path,
    name: &str,
    json: bool,
) -> std::io::Result<Running> {
    let mut command = match one.script.strip_prefix("-l ") {
        Some(pattern) => {
            let mut command = tracer.bpftrace();
            command.args(["-l", pattern.trim()]);
            command
        }
        None => {
            let mut command = tracer.script_as_bpftrace(&one.script);
            if json {
                command.args(["-f", "json"]);
            }
            command.arg(pid.to_string());
            command
        }
    };
    let (out, err) = (
        folder.join(format!("{name}.out")),
        folder.join(format!("{name}.err")),
    );
    let child = command
        .env(NOTIFY, "1")
        .stdin(Stdio::null())
        .stdout(File::create(&out)?)
        .stderr(File::create(&err)?)
        .spawn()?;
    Ok(Running { child, out, err })
}

fn attached(tracer: &Running) -> bool {
    // Older versions of bpftrace say it on standard error.
    [&tracer.out, &tracer.err]
        .iter()
        .any(|file| read(file).contains(NOTIFY))
}

/// Ends a tracer as its user would.
fn end(mut tracer: Running, lists: bool) -> Result<String, String> {
    let was_attached = lists || attached(&tracer);
    if !lists {
        if let Some(pid) = rustix::process::Pid::from_raw(tracer.child.id() as i32) {
            // One that has ended by itself is ended.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
    }
    tracer.child.wait().map_err(|why| why.to_string())?;
    match was_attached {
        true => Ok(read(&tracer.out)),
        false => {
            let said = read(&tracer.err);
            let mut lines = said.lines().filter(|line| line.contains("ERROR"));
            Err(lines.next().unwrap_or("it did not attach").to_string())
        }
    }
}

fn read(file: &Path) -> String {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|mut file| file.read_to_end(&mut bytes));
    read.map_or(String::new(), |_| {
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Gives the lines that are compared, without blanks unless they are to be `exact`.
fn kept(one: &OneLiner, text: &str, json: bool, exact: bool) -> Vec<String> {
    let lines = text.lines().filter(|line| {
        let of_run = line.contains(NOTIFY)
            || line.starts_with("Attach")
            || line.contains("\"attached_probes\"");
        !line.trim().is_empty() && !of_run
    });
    let mut kept: Vec<String> = match (one.compared, json) {
        (Compared::All, _) => lines.map(str::to_string).collect(),
        // A map is one line of JSON: what it has of the program stands beside others.
        (Compared::Lines, true) => lines.flat_map(of_program).collect(),
        (Compared::Lines, false) => {
            let lines = lines.filter(|line| line.contains(PROGRAM));
            lines.map(str::to_string).collect()
        }
        (Compared::Forms, _) => lines.map(form).collect(),
    };
    if !exact {
        for line in &mut kept {
            line.retain(|c| c != ' ');
        }
    }
    if one.compared == Compared::Forms {
        // Whether a stack is empty is the moment's.
        kept.retain(|form| !form.contains("[]"));
        kept.sort();
        kept.dedup();
    }
    kept
}

/// Gives a line of JSON if it is about the program alone, and what a map has of it.
fn of_program(line: &str) -> Option<String> {
    let at = line.find(PROGRAM)?;
    if !line.contains("\"map\"") {
        return Some(line.to_string());
    }
    let rest = line.get(at..)?;
    let end = rest.find([',', '}']).unwrap_or(rest.len());
    Some(format!("{} {}", line.split('{').nth(1)?, rest.get(..end)?))
}

/// Gives the punctuation of a line: words and numbers are one letter, what is repeated stands once.
fn form(line: &str) -> String {
    let mut form = String::new();
    let mut text = false;
    // The lines of a stack in JSON, which older versions indent.
    let parts: Vec<&str> = line.split("\\n").map(str::trim_start).collect();
    let whole = match parts.as_slice() {
        [_] => line.to_string(),
        parts => parts.join("\n"),
    };
    for c in whole.chars() {
        match c {
            _ if c.is_alphanumeric() || c == '_' || c == '.' => {
                if !text {
                    form.push('w');
                }
                text = true;
            }
            // The bar of a histogram is as long as its count.
            '@' | ' ' if form.ends_with(c) => {}
            _ => {
                form.push(c);
                text = false;
            }
        }
    }
    if line.contains(" |") {
        return form.split('|').next().unwrap_or_default().to_string();
    }
    if line.starts_with('{') {
        // Of many keys and values the first, of a stack the first frame.
        let mut form: String = form.split(',').take(2).collect();
        while form.contains(FRAMES) {
            form = form.replace(FRAMES, FRAME);
        }
        return form;
    }
    form
}

/// Gives the first lines that differ.
fn difference((kscope, peer): (&[String], &[String])) -> String {
    let only = |of: &[String], other: &[String]| -> String {
        let mut lines = of.iter().filter(|line| !other.contains(line));
        lines
            .next()
            .map_or("nothing".to_string(), |line| format!("`{line}`"))
    };
    format!(
        "{} and {} lines; only kscope has {}, only the peer {}",
        kscope.len(),
        peer.len(),
        only(kscope, peer),
        only(peer, kscope)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_apart_by_punctuation() {
        let check = |line, expected| assert_eq!(form(line), expected, "{line}");
        check("    vfs_read+12", " w+w");
        check("[2, 4)        3 |@@@@@   |", "[w, w) w ");
        check("@[dd]: 12", "@[w]: w");
        check("]: 3", "]: w");
        let stack = r#"{"@": {"\na+1\nb+2\nc+3\n": 1, "\nd+4\n": 2}}"#;
        check(stack, "{\"@\": {\"\nw+w\n\": w \"\nw+w\n\": w}}");
    }

    #[test]
    fn one_liners_are_read() {
        let all =
            parse("# said\n\n1 first: all\n    a\n    b\n2 second: forms\n    c\n").expect("well");
        let read = all
            .iter()
            .map(|one| (one.name.as_str(), one.compared, one.script.as_str()));
        let expected = [
            ("1 first", Compared::All, "a\nb\n"),
            ("2 second", Compared::Forms, "c\n"),
        ];
        assert_eq!(read.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_map_gives_what_it_has_of_the_program() {
        let line = r#"{"type": "map", "data": {"@": {"sh": 3, "traced_beside": 5, "x": 1}}}"#;
        let found = of_program(line).expect("it is there");
        assert!(found.ends_with(r#"traced_beside": 5"#), "{found}");
        assert_eq!(of_program("{\"type\": \"map\"}"), None);
    }
}
