//! Prints each program that is executed, for as many seconds as the first argument says (1), or
//! those of the one process that the second names.

#[cfg(not(without_clang))]
kscope_bpf::include_skeleton!("execsnoop");

#[cfg(not(without_clang))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::time::{Duration, Instant};

    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(1.0), |word| word.parse())?;
    let time = Duration::try_from_secs_f64(seconds)?;
    let only_pid = arguments.next().map_or(Ok(0), |word| word.parse())?;

    let mut open = execsnoop::Open::new()?;
    open.globals.only_pid = only_pid;
    let skeleton = open.load()?;
    let _links = skeleton.attach()?;
    let mut events = skeleton.maps.events.events::<execsnoop::ExecEvent>()?;
    println!("TIME(ns) PID UID CALLER COMM");

    let begin = Instant::now();
    while let Some(left) = time.checked_sub(begin.elapsed()) {
        events.poll(Some(left), &mut |event| {
            let execsnoop::ExecEvent {
                time,
                pid,
                uid,
                caller,
                comm,
                ..
            } = event;
            println!("{time} {pid} {uid} {caller:?} {comm}");
        })?;
    }
    for (uid, user) in skeleton.maps.users.entries()? {
        println!(
            "user {uid}: {} executions, the last of process {}",
            user.count, user.last_pid
        );
    }
    println!("{} events found no room", skeleton.globals.lost.get()?);
    Ok(())
}

#[cfg(without_clang)]
fn main() {
    eprintln!("built without clang: there is no eBPF program in it");
    std::process::exit(1);
}
