//! Calls that need no privilege, against what /proc says.

use super::*;

fn kernel() -> SharedKernel {
    real_kernel()
}

/// Gives the words after a field's name in a file of /proc.
fn field(file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(file).expect("proc");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .expect("a field");
    line.trim().to_owned()
}

#[test]
fn capabilities_are_those_of_the_process() {
    let shown = field("/proc/self/status", "CapEff:");
    assert_eq!(
        kernel().capabilities(),
        Ok(u64::from_str_radix(&shown, 16).expect("a mask"))
    );
}

#[test]
fn the_limit_on_locked_memory_is_that_of_the_process() {
    let shown = field("/proc/self/limits", "Max locked memory");
    let soft = shown.split_whitespace().next().expect("a limit");
    let expected = if soft == "unlimited" {
        u64::MAX
    } else {
        soft.parse().expect("bytes")
    };
    assert_eq!(kernel().memlock(), Ok(expected));
}

#[test]
fn clocks_go_forward_and_tell_their_kind() {
    let kernel = kernel();
    for clock in [
        Clock::Monotonic,
        Clock::Boottime,
        Clock::Realtime,
        Clock::Tai,
    ] {
        let first = kernel.clock(clock).expect("a clock");
        assert!(
            kernel.clock(clock).expect("a clock") >= first && first > 0,
            "{clock:?}"
        );
    }
    let wall = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("now");
    let ours = Duration::from_nanos(kernel.clock(Clock::Realtime).expect("a clock"));
    assert!(ours.abs_diff(wall) < Duration::from_secs(60));
}

#[test]
fn a_thread_can_be_bound_to_each_of_its_cpus() {
    std::thread::spawn(|| {
        let kernel = kernel();
        for cpu in kernel.affinity().expect("a mask") {
            kernel.pin_to_cpu(cpu).expect("allowed");
            assert_eq!(kernel.affinity(), Ok(vec![cpu]));
            assert_eq!(kernel.current_cpu(), Ok(cpu));
        }
        assert_eq!(kernel.pin_to_cpu(u32::MAX), Err(Errno::INVAL));
    })
    .join()
    .expect("no panic");
}

#[test]
fn waiting_ends_by_event_or_time() {
    let kernel = kernel();
    let epoll = kernel.epoll_create().expect("epoll");
    let event = kernel.eventfd().expect("eventfd");
    kernel
        .epoll_add(epoll.as_fd(), event.as_fd(), 77)
        .expect("watched");
    let begin = std::time::Instant::now();
    let wait = |time| kernel.epoll_wait(epoll.as_fd(), Some(time)).expect("waits");
    // Less than a millisecond is not nothing.
    assert_eq!(wait(Duration::from_micros(100)).tokens(), []);
    assert!(begin.elapsed() >= Duration::from_micros(100));
    assert_eq!(kernel.write(event.as_fd(), &1u64.to_ne_bytes()), Ok(8));
    assert_eq!(wait(Duration::from_secs(60)).tokens(), [77]);
    let mut count = [0; 8];
    assert_eq!(kernel.read(event.as_fd(), &mut count), Ok(8));
    assert_eq!(kernel.read(event.as_fd(), &mut count), Err(Errno::AGAIN));
}

#[test]
fn files_are_named_by_device_and_inode() {
    let kernel = kernel();
    let identity = kernel
        .identity(Path::new("/proc/self/ns/pid"))
        .expect("proc");
    let shown = std::fs::read_link("/proc/self/ns/pid").expect("proc");
    assert_eq!(shown.to_string_lossy(), format!("pid:[{}]", identity.inode));
    assert_eq!(kernel.identity(Path::new("/no/such")), Err(Errno::NOENT));
    let kernel_dev = FileIdentity {
        major: 8,
        minor: 0x12345,
        inode: 0,
    }
    .kernel_dev();
    assert_eq!(kernel_dev, 0x0081_2345);
}

#[test]
fn files_are_read_whole() {
    let kernel = kernel();
    let path = std::env::temp_dir().join(format!("kscope-sys-read-{}", std::process::id()));
    assert_eq!(kernel.read_file(&path), Err(Errno::NOENT));
    std::fs::write(&path, b"one two").expect("a temporary file");
    assert_eq!(kernel.read_file(&path), Ok(b"one two".to_vec()));
    std::fs::remove_file(&path).expect("ours");
}

#[test]
fn what_is_no_directory_is_not_opened_as_one() {
    let kernel = kernel();
    let path = std::env::temp_dir().join(format!("kscope-sys-pipe-{}", std::process::id()));
    let open = |path: &Path| kernel.open_directory(path).map(drop);
    assert_eq!(open(&std::env::temp_dir()), Ok(()));
    assert_eq!(open(&path), Err(Errno::NOENT));
    assert_eq!(open(Path::new("/dev/null")), Err(Errno::NOTDIR));
    // A pipe that nobody writes to: it is not waited for.
    let name = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    // SAFETY: reads a C string that lives through the call.
    let made = unsafe { libc::mkfifo(name.as_ptr(), 0o600) };
    assert_eq!(made, 0);
    assert_eq!(open(&path), Err(Errno::NOTDIR));
    std::fs::remove_file(&path).expect("ours");
}
