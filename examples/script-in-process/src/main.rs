//! Prints which files the process of the first argument opens, for as many seconds as the second
//! says (1), with how often it did. No C, no compiler and no other program is needed.

use std::time::{Duration, Instant};

use kscope_rows::{FromValue, MapContent};
use kscope_runtime::{Error, Script};

const SCRIPT: &str = r#"
tracepoint:syscalls:sys_enter_openat /pid == $1/ {
    @opens[comm] = count();
    print((pid=pid, comm=comm, flags=args.flags, path=str(args.filename)));
}
"#;

kscope_rows::row! {
    /// A file that is opened: each field is the column of its name.
    #[derive(Debug)]
    struct Open {
        pid: u32,
        comm: String,
        flags: u64,
        path: String,
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let pid = arguments
        .next()
        .unwrap_or_else(|| std::process::id().to_string());
    let seconds = arguments.next().map_or(Ok(1.0), |word| word.parse())?;
    run(&pid, Duration::try_from_secs_f64(seconds)?).map_err(|error| error.to_string().into())
}

fn run(pid: &str, time: Duration) -> Result<(), Error> {
    let mut running = Script::compile(SCRIPT, &[pid])?.start()?;
    println!("attached");
    let begin = Instant::now();
    loop {
        let left = time.saturating_sub(begin.elapsed());
        let Some(open) = running.next::<Open>(left)? else {
            break;
        };
        println!(
            "{} ({}) opens {} with flags {:#o}",
            open.comm, open.pid, open.path, open.flags
        );
    }
    let finished = running.finish()?;
    for map in finished.maps {
        let MapContent::Keyed(entries) = map.content else {
            continue;
        };
        for (key, value) in &entries {
            if let (Some(comm), Some(count)) = (String::from_value(key), u64::from_value(value)) {
                println!("{} of {comm}: {count}", map.name);
            }
        }
    }
    println!("{} events lost", finished.summary.lost_events);
    Ok(())
}
