//! The loader against a kernel that a test plays.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kscope_spec::{
    AttachKind, Insn, LateId, LateKind, LateValue, MapId, MapKind, MapSpec, ProgramType, Reloc,
    RelocKind,
};
use kscope_sys::{Bpf, Call, Errno, FakeKernel, MapFd, ProgramLoad, Reply};

use super::*;

fn spec() -> Spec {
    let program = ProgramSpec {
        name: "p".to_owned(),
        kind: ProgramType::Kprobe,
        attach: AttachKind::None,
        insns: vec![
            Insn {
                code: 0x18,
                dst: 1,
                ..Insn::default()
            },
            Insn::default(),
        ],
        relocs: vec![Reloc {
            insn: 0,
            kind: RelocKind::Map(MapId(0)),
        }],
        lines: Vec::new(),
        funcs: Vec::new(),
        flags: 0,
        ..ProgramSpec::default()
    };
    let map = MapSpec {
        name: "m".to_owned(),
        kind: MapKind::Array,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        flags: 0,
        initial: Some(vec![1, 2]),
        frozen: true,
        ..MapSpec::default()
    };
    Spec {
        programs: vec![program],
        maps: vec![map],
        ..Spec::default()
    }
}

/// Answers everything but the loads of programs, which `load` answers.
fn kernel(
    mut load: impl FnMut(ProgramLoad<'_>) -> Result<Reply, Errno> + Send + 'static,
) -> Arc<FakeKernel> {
    Arc::new(FakeKernel::new(move |call| match call {
        Call::Bpf(Bpf::MapCreate(map)) => MapFd::fake(map.shape, 1).map(Reply::Map),
        Call::Bpf(Bpf::ProgramLoad(program)) => load(program),
        Call::Bpf(Bpf::BtfLoad(_)) => FakeKernel::object(),
        Call::Bpf(_) => Ok(Reply::Done),
        Call::Capabilities => Ok(Reply::Number(u64::MAX)),
        _ => Err(Errno::NOENT),
    }))
}

fn names(kernel: &FakeKernel) -> Vec<&'static str> {
    kernel.calls().iter().map(|call| call.name).collect()
}

#[test]
fn maps_are_made_filled_and_frozen_before_programs() {
    let fake = kernel(|_| FakeKernel::object());
    let object = Loader::new(fake.clone()).load(&spec()).expect("loads");
    assert!(object.program(ProgramId(0)).is_ok());
    assert_eq!(
        names(&fake),
        [
            "BPF_BTF_LOAD",
            "BPF_MAP_CREATE",
            "BPF_MAP_UPDATE_ELEM",
            "BPF_MAP_FREEZE",
            "BPF_PROG_LOAD"
        ]
    );
}

#[test]
fn who_stops_has_no_further_program_loaded() {
    let mut two = spec();
    two.programs.push(two.programs[0].clone());
    for (answer, loads) in [(None, 1), (Some(Errno::AGAIN), 1), (Some(Errno::ACCES), 1)] {
        let stopped = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = stopped.clone();
        // The wish comes while the first program is verified.
        let fake = kernel(move |_| {
            seen.store(true, Ordering::Relaxed);
            answer.map_or_else(FakeKernel::object, Err)
        });
        let stop = || stopped.load(Ordering::Relaxed);
        let outcome = Loader::new(fake.clone()).stop(&stop).load(&two);
        assert_eq!(outcome.err(), Some(Error::Interrupted), "{answer:?}");
        let count = names(&fake)
            .iter()
            .filter(|name| **name == "BPF_PROG_LOAD")
            .count();
        assert_eq!(count, loads, "{answer:?}");
    }
    let fake = kernel(|_| FakeKernel::object());
    let object = Loader::new(fake).stop(&|| false).load(&two).expect("loads");
    assert_eq!(object.programs().count(), 2);
}

#[test]
fn who_is_not_permitted_is_named() {
    let fake = || kernel(|_| Err(Errno::PERM));
    let object = Loader::new(fake()).load(&spec()).expect("maps");
    let whole = Loader::new(fake()).all_or_nothing().load(&spec());
    let refused = object.program(ProgramId(0)).expect_err("refused");
    for error in [&refused, &whole.expect_err("refused")] {
        let Error::Permission { about, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(&**about, "p");
        let said = error.to_string();
        assert!(
            said.starts_with("program p: ") && said.contains("is not permitted"),
            "{said}"
        );
    }
    // Beside the name it is not said twice.
    let failed = object.failures().next().expect("one").to_string();
    assert_eq!(failed.matches("program p: ").count(), 1, "{failed}");
}

#[test]
fn a_refused_program_is_loaded_again_for_its_log() {
    // What the kernel writes at which level, and whether that is all; the levels it was asked for.
    let check = |answers: &'static [(u32, &'static str, Errno)], levels: &[u32], said, whole| {
        let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = asked.clone();
        let fake = kernel(move |program| {
            seen.lock().expect("no panic").push(program.log_level);
            let answer = answers
                .iter()
                .find(|(level, ..)| *level == program.log_level);
            let (_, text, errno) = answer.expect("a level that is known");
            if let Some(log) = program.log {
                log[..text.len()].copy_from_slice(text.as_bytes());
            }
            Err(*errno)
        });
        let object = Loader::new(fake).load(&spec()).expect("maps");
        let failed = object.failures().next().expect("one");
        let refusal = "the verifier refused program p: ";
        let told = format!("{refusal}{said} (instruction 7)");
        assert_eq!(failed.to_string(), told);
        let Error::Rejected { log, .. } = &failed.error else {
            panic!("{failed}");
        };
        assert_eq!((log.text.as_str(), log.insn), (whole, Some(7)));
        assert_eq!(*asked.lock().expect("no panic"), levels);
    };
    const END: &str = "7: (18) r1 = 0x0\nR1 is wrong\nprocessed 1 insns (limit 1000000)\n";
    check(
        &[(0, "", Errno::ACCES), (1, END, Errno::ACCES)],
        &[0, 1],
        "R1 is wrong",
        END,
    );
    check(
        &[(0, "", Errno::ACCES), (1, END, Errno::NOSPC)],
        &[0, 1],
        "R1 is wrong",
        END,
    );
    check(
        &[
            (0, "", Errno::TOO_BIG),
            (1, "7: (18) r1 = 0x0\n8: (1", Errno::NOSPC),
            (
                4,
                "too large\nprocessed 9 insns (limit 1)\n",
                Errno::TOO_BIG,
            ),
        ],
        &[0, 1, 4],
        "too large",
        "7: (18) r1 = 0x0\n[…]\ntoo large\nprocessed 9 insns (limit 1)\n",
    );
}

#[test]
fn the_verifiers_log_is_as_long_as_was_said() {
    let check = |bytes: u32, expected: usize| {
        let asked = Arc::new(AtomicUsize::new(0));
        let seen = asked.clone();
        let fake = kernel(move |program| {
            // What a kernel can do is tried with programs of other names.
            let room = match program.name {
                "p" => program.log.map_or(0, |log| log.len()),
                _ => 0,
            };
            seen.fetch_max(room, Ordering::Relaxed);
            Err(Errno::INVAL)
        });
        let loader = Loader::new(fake).log_bytes(bytes);
        assert_eq!(loader.load(&spec()).expect("maps").failures().count(), 1);
        assert_eq!(asked.load(Ordering::Relaxed), expected, "{bytes}");
    };
    check(0, 1 << 24);
    check(1, 128);
    check(4096, 4096);
    check(u32::MAX, 1 << 24);
}

#[test]
fn helpers_that_lockdown_takes_away_are_not_the_programs_fault() {
    let check = |mode: &'static str, telling: &'static str, expected: &str| {
        let fake = Arc::new(FakeKernel::new(move |call| match call {
            Call::Bpf(Bpf::MapCreate(map)) => MapFd::fake(map.shape, 1).map(Reply::Map),
            Call::Bpf(Bpf::ProgramLoad(program)) => {
                if let Some(log) = program.log {
                    log[..telling.len()].copy_from_slice(telling.as_bytes());
                }
                Err(Errno::INVAL)
            }
            Call::ReadFile(path) => {
                assert_eq!(path, std::path::Path::new("/sys/kernel/security/lockdown"));
                Ok(Reply::Bytes(mode.into()))
            }
            _ => Ok(Reply::Done),
        }));
        let object = Loader::new(fake).load(&spec()).expect("maps");
        let error = object.program(ProgramId(0)).expect_err("refused");
        assert_eq!(error.to_string(), expected);
    };
    let locked = "program p: reading kernel memory is not permitted: the kernel is locked down (confidentiality)";
    let secret = "none integrity [confidentiality]\n";
    check(secret, "unknown func bpf_probe_read_kernel#113", locked);
    let newer = "program of this type cannot use helper bpf_probe_read_kernel_str#115";
    check(secret, newer, locked);
    let other = "program of this type cannot use helper bpf_msg_cork_bytes#62";
    check(
        secret,
        other,
        &format!("the verifier refused program p: {other}"),
    );
    check(
        "none [integrity] confidentiality\n",
        newer,
        &format!("the verifier refused program p: {newer}"),
    );
    let option = "this kernel has no helper bpf_override_return, which program p calls (it comes with \
                  CONFIG_BPF_KPROBE_OVERRIDE)";
    check(secret, "unknown func bpf_override_return#58", option);
    let newer = "program of this type cannot use helper bpf_override_return#58";
    check(secret, newer, option);
    let writes = "program of this type cannot use helper bpf_probe_write_user#36";
    for mode in ["integrity", "confidentiality"] {
        let expected = format!(
            "program p: writing memory of processes is not permitted: the kernel is locked down ({mode})"
        );
        let file = match mode {
            "integrity" => "none [integrity] confidentiality\n",
            _ => secret,
        };
        check(file, writes, &expected);
    }
    let expected = format!("the verifier refused program p: {writes}");
    check("[none] integrity confidentiality\n", writes, &expected);
}

#[test]
fn a_log_that_never_fits_ends() {
    let loads = Arc::new(AtomicUsize::new(0));
    let seen = loads.clone();
    let fake = kernel(move |_| {
        seen.fetch_add(1, Ordering::Relaxed);
        Err(Errno::NOSPC)
    });
    let object = Loader::new(fake).load(&spec()).expect("maps");
    let error = object.program(ProgramId(0)).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "BPF_PROG_LOAD of program p: ENOSPC (No space left on device)"
    );
    assert_eq!(loads.load(Ordering::Relaxed), 1 + 2);
}

#[test]
fn a_kernel_that_takes_no_types_still_takes_programs() {
    let fake = Arc::new(FakeKernel::new(|call| match call {
        Call::Bpf(Bpf::MapCreate(map)) => MapFd::fake(map.shape, 1).map(Reply::Map),
        Call::Bpf(Bpf::ProgramLoad(program)) => {
            assert!(program.btf.is_none() && program.func_info.is_empty());
            FakeKernel::object()
        }
        Call::Bpf(Bpf::BtfLoad(_)) => Err(Errno::INVAL),
        _ => Ok(Reply::Done),
    }));
    let object = Loader::new(fake).load(&spec()).expect("maps");
    assert!(object.program(ProgramId(0)).is_ok());
}

#[test]
fn a_limit_on_memory_is_raised_once_and_only_where_it_is_hit() {
    let tries = Arc::new(AtomicUsize::new(0));
    let seen = tries.clone();
    let fake = Arc::new(FakeKernel::new(move |call| match call {
        Call::Bpf(Bpf::MapCreate(map)) => match seen.fetch_add(1, Ordering::Relaxed) {
            0 => Err(Errno::PERM),
            _ => MapFd::fake(map.shape, 1).map(Reply::Map),
        },
        Call::Bpf(Bpf::ProgramLoad(_) | Bpf::BtfLoad(_)) => FakeKernel::object(),
        _ => Ok(Reply::Done),
    }));
    Loader::new(fake.clone())
        .load(&spec())
        .expect("the second time");
    assert_eq!(
        names(&fake)[1..4],
        ["BPF_MAP_CREATE", "setrlimit", "BPF_MAP_CREATE"]
    );
    assert_eq!(
        names(&fake)
            .iter()
            .filter(|&&name| name == "setrlimit")
            .count(),
        1
    );
}

#[test]
fn a_late_value_is_found_out_once_for_all_programs() {
    let fake = kernel(|_| FakeKernel::object());
    let mut spec = spec();
    spec.late = vec![LateValue {
        name: "symbol".to_owned(),
        kind: LateKind::KernelSymbol("jiffies".to_owned()),
    }];
    let program = &mut spec.programs[0];
    program.relocs[0].kind = RelocKind::Late(LateId(0));
    let second = program.clone();
    spec.programs.push(second);
    let asked = std::cell::Cell::new(0);
    let resolve = |name: &str| {
        assert_eq!(name, "jiffies");
        asked.set(asked.get() + 1);
        Some(7)
    };
    let object = Loader::new(fake).symbols(&resolve).load(&spec);
    assert_eq!(object.expect("loads").programs().count(), 2);
    assert_eq!(asked.get(), 1);
}

#[test]
fn a_kernel_without_types_says_what_needs_them() {
    let fake = kernel(|_| FakeKernel::object());
    let mut spec = spec();
    spec.programs[0].attach = AttachKind::RawTracepointBtf("sched_switch".to_owned());
    let object = Loader::new(fake).load(&spec).expect("maps");
    let error = object.program(ProgramId(0)).expect_err("no types");
    assert_eq!(
        error.to_string(),
        "this kernel has no BTF, which BTF-typed tracepoint sched_switch needs (it comes with the \
         build option CONFIG_DEBUG_INFO_BTF)"
    );
}

#[test]
fn objects_of_the_other_byte_order_are_refused_before_anything_is_made() {
    let fake = kernel(|_| FakeKernel::object());
    let (byte_order, way_out) = match ByteOrder::HOST {
        ByteOrder::Little => (ByteOrder::Big, "bpfel"),
        ByteOrder::Big => (ByteOrder::Little, "bpfeb"),
    };
    let spec = Spec {
        byte_order,
        ..spec()
    };
    let error = Loader::new(fake.clone()).load(&spec).expect_err("refused");
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("the object is for {byte_order} machines")),
        "{text}"
    );
    assert!(text.ends_with(&format!("-target {way_out}")), "{text}");
    assert!(names(&fake).is_empty());
}

#[test]
fn a_weak_build_option_that_cannot_be_known_is_zero() {
    let check = |weak, loads: bool| {
        let fake = kernel(|_| FakeKernel::object());
        let mut spec = spec();
        spec.maps[0].value_size = 4;
        spec.externs = vec![kscope_spec::Extern {
            name: "CONFIG_HZ".to_owned(),
            weak,
            kind: kscope_spec::ExternKind::Config {
                map: MapId(0),
                offset: 0,
                size: 4,
                config: kscope_spec::ConfigType::Bool,
            },
        }];
        spec.programs[0].relocs[0].kind = RelocKind::Extern(kscope_spec::ExternId(0));
        let loaded = Loader::new(fake).load(&spec).expect("a map");
        assert_eq!(loaded.program(ProgramId(0)).is_ok(), loads, "weak: {weak}");
    };
    check(true, true);
    check(false, false);
}

#[test]
fn the_kernel_gives_the_digest_of_a_maps_one_program() {
    let check = |hashed: Result<(), Errno>, expected: &str| {
        let mut made = String::new();
        let fake = FakeKernel::new(move |call| match call {
            Call::Bpf(Bpf::MapCreate(map)) => {
                made = format!(
                    "{made} {}:{:?}",
                    map.name,
                    map.exclusive.map(|hash| hash[31])
                );
                // What was made is told by the failure of the last.
                match map.exclusive {
                    Some(_) if made == " digest:None m:Some(7)" => Err(Errno::NOSPC),
                    _ => MapFd::fake(map.shape, 1).map(Reply::Map),
                }
            }
            Call::Bpf(Bpf::MapHash { into, .. }) => {
                into.fill(7);
                hashed.map(|()| Reply::Done)
            }
            Call::Bpf(Bpf::ProgramLoad(_)) => Err(Errno::INVAL),
            Call::ReadFile(_) => Err(Errno::NOENT),
            _ => Ok(Reply::Done),
        });
        let loader = Loader::new(Arc::new(fake)).exclusive("m", "p");
        let error = loader.load(&spec()).expect_err("no map").to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(Ok(()), "No space left");
    let older = "this kernel has no maps of one program alone (it comes with Linux 6.18)";
    check(Err(Errno::TOO_BIG), older);
    check(Err(Errno::INVAL), older);
}

#[test]
fn a_pinned_map_is_taken_as_it_was_made() {
    // The kind, the entries that the object says, and those that the pinned map has.
    let check = |kind: MapKind, said: u32, has: u32, expected: Option<&str>| {
        let size = if kind == MapKind::RingBuf { 0 } else { 4 };
        let fake = Arc::new(FakeKernel::new(move |call| match call {
            Call::Bpf(Bpf::Pinned { .. } | Bpf::BtfLoad(_)) => FakeKernel::object(),
            Call::Bpf(Bpf::MapAdopt { .. }) => match has {
                0 => Err(Errno::MFILE),
                max_entries => {
                    let shape = kscope_sys::MapShape {
                        kind: kind as u32,
                        key_size: size,
                        value_size: size,
                        max_entries,
                    };
                    MapFd::fake(shape, 1).map(Reply::Map)
                }
            },
            Call::Bpf(Bpf::MapInfo { .. }) => Ok(Reply::Done),
            _ => Err(Errno::NOENT),
        }));
        let map = MapSpec {
            name: "m".to_owned(),
            kind,
            key_size: size,
            value_size: size,
            max_entries: said,
            pinning: kscope_spec::Pinning::ByName,
            ..MapSpec::default()
        };
        let spec = Spec {
            maps: vec![map],
            ..Spec::default()
        };
        let loaded = Loader::new(fake).pin_folder("/pins").load(&spec);
        let told = loaded.err().map(|error| error.to_string());
        assert_eq!(told.as_deref(), expected, "{kind:?} {said} {has}");
    };
    check(MapKind::Hash, 100, 100, None);
    // A ring is made of whole pages.
    check(MapKind::RingBuf, 100, 4096, None);
    check(MapKind::RingBuf, 5000, 8192, None);
    let other = "the map pinned at /pins/m cannot be used: it has room for 100 entries, not 200";
    check(MapKind::Hash, 200, 100, Some(other));
    let full = "BPF_OBJ_GET_INFO_BY_FD of /pins/m: EMFILE (Too many open files)";
    check(MapKind::Hash, 100, 0, Some(full));
}
