//! Whether what a section names is there, without attaching to it.

use kscope_btf::nearest;
use kscope_spec::section;

use super::auto::Named;
use super::kernel_probe::syscall_functions;
use super::static_probe::absent;
use super::user_section::usdt_target;
use super::{KprobeAt, ProbeSource, Usdt};
use crate::error::Error;
use crate::executable::{self, Executable};
use crate::features::{Features, Support};
use crate::kallsyms;
use crate::program::Program;
use crate::tracefs::Tracefs;

impl Program {
    /// Looks whether the kernel function, tracepoint, function of a file or USDT probe that the
    /// program's section names is there, and attaches nothing. Sections that name nothing, and what
    /// the kernel looked up when it loaded the program, pass.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::Unsupported`] for a kernel without probes of this kind;
    /// [`Error::Invalid`] for a section that does not say it well.
    pub fn look_for_target(&self) -> Result<(), Error> {
        let target = section::target(self.section());
        let pattern = section::lookup(self.section()).map_or("", |known| known.pattern);
        let Some(named) = Named::of(pattern).filter(|_| !target.is_empty()) else {
            return Ok(());
        };
        match named {
            Named::Kprobe => {
                ProbeSource::find(&*self.kernel, "kprobe")?;
                match self.function_and_offset(target)? {
                    KprobeAt::Function { name, .. } => self.look_for_function(&[name]),
                    KprobeAt::Address(_) => Ok(()),
                }
            }
            Named::Ksyscall => {
                ProbeSource::find(&*self.kernel, "kprobe")?;
                let found = self.look_for_function(&syscall_functions(target));
                found.map_err(|_| Error::not_found("system call", target))
            }
            Named::Uprobe => {
                let (path, _) = self.user_function(target)?;
                // The file of an offset was not read.
                let there = self.kernel.identity(&path);
                let absent = |_| Error::not_found("file", path.display().to_string());
                there.map(drop).map_err(absent)
            }
            Named::UprobeMulti => self.user_functions(target).map(drop),
            Named::Tracepoint => {
                let (category, name) = target
                    .split_once('/')
                    .ok_or_else(|| self.bad_target("tracepoint/category/name"))?;
                // Attaching mounts it where it is not; this changes nothing.
                match Tracefs::find(&*self.kernel) {
                    Ok(tracefs) => {
                        tracefs.tracepoint_id(&*self.kernel, category, name)?;
                        self.fits_record(&tracefs, category, name)
                    }
                    Err(Error::NotMounted { .. }) if self.may_mount() => Ok(()),
                    Err(error) => Err(error),
                }
            }
            Named::RawTracepoint => {
                self.look_for_raw_tracepoint(target)?;
                self.fits_arguments(target)
            }
            Named::KprobeMulti => {
                let features = Features::new(self.kernel.clone(), None);
                let support = match pattern {
                    "kprobe.session+" => features.kprobe_session(),
                    _ => features.kprobe_multi(),
                };
                match support {
                    Support::Missing { feature, since } => {
                        Err(Error::Unsupported { feature, since })
                    }
                    Support::Refused { why: cause } => {
                        Err(Error::permission("BPF_LINK_CREATE", cause))
                    }
                    Support::Available => Ok(()),
                }
            }
            Named::Usdt => {
                let (path, provider, name) = usdt_target(self, target)?;
                let path = executable::find(&*self.kernel, path)?;
                let bytes = executable::read(&*self.kernel, &path)?;
                let file = Executable::parse(&bytes)?;
                let probe = Usdt {
                    path: &path,
                    provider,
                    name,
                    pid: None,
                    cookie: 0,
                };
                match file.usdt(provider, name).is_empty() {
                    true => Err(absent(&file, &probe)),
                    false => Ok(()),
                }
            }
            Named::Functions | Named::Typed | Named::Iterator | Named::Extension => Ok(()),
        }
    }

    /// Looks whether the program reads no more of its context than a tracepoint's record has, which the
    /// kernel compares when it is attached.
    #[cfg(all(feature = "check", feature = "inspect"))]
    fn fits_record(&self, tracefs: &Tracefs, category: &str, name: &str) -> Result<(), Error> {
        let size = tracefs.record_size(&*self.kernel, category, name);
        match size.is_some_and(|size| self.read_of_context() > size) {
            true => Err(self.reads_too_far("", &format!("tracepoint:{category}:{name}"))),
            false => Ok(()),
        }
    }

    /// Looks whether the program reads no more arguments than a raw tracepoint has, as the kernel's
    /// types say; it compares when it is attached.
    #[cfg(all(feature = "check", feature = "inspect"))]
    fn fits_arguments(&self, name: &str) -> Result<(), Error> {
        use kscope_btf::{Kind, TypeId};
        use kscope_spec::check;
        let types = crate::loader::KernelTypes::new(self.kernel.clone(), None);
        let found = types.find(&format!("btf_trace_{name}"), Kind::Typedef);
        let given = found
            .and_then(|found| check::context_of_raw_tracepoint(types.of(found)?, TypeId(found.id)));
        match given.is_some_and(|given| self.read_of_context() > given) {
            true => Err(self.too_much(name)),
            false => Ok(()),
        }
    }

    /// Gives how many bytes of its context the program surely reads; 0 where its code is not to be seen.
    #[cfg(all(feature = "check", feature = "inspect"))]
    fn read_of_context(&self) -> u64 {
        use kscope_spec::{Insn, check};
        use std::os::fd::AsFd as _;
        let image = self.kernel.program_image(self.as_fd()).unwrap_or_default();
        let slots = image.translated.chunks_exact(8);
        let insns = slots.filter_map(|slot| Some(Insn::decode(*slot.first_chunk()?)));
        check::read_of_context(&insns.collect::<Vec<_>>())
    }

    /// Says nothing of the program, which this build does not read.
    #[cfg(not(all(feature = "check", feature = "inspect")))]
    fn fits_record(&self, _: &Tracefs, _: &str, _: &str) -> Result<(), Error> {
        Ok(())
    }

    /// Says nothing of the program, which this build does not read.
    #[cfg(not(all(feature = "check", feature = "inspect")))]
    fn fits_arguments(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    /// Tells whether attaching may mount a file system of the kernel's that is not there.
    fn may_mount(&self) -> bool {
        const SYS_ADMIN: u64 = 1 << 21;
        let have = self.kernel.capabilities().unwrap_or(u64::MAX);
        have & SYS_ADMIN != 0
    }

    /// Looks for one of these functions among the kernel's symbols; where those cannot be read it is
    /// not known.
    fn look_for_function(&self, names: &[String]) -> Result<(), Error> {
        let list = kallsyms::read(&*self.kernel);
        let functions = || kallsyms::functions(&list);
        let is_wanted = |name: &str| names.iter().any(|wanted| wanted == name);
        if list.is_empty() || functions().any(is_wanted) {
            return Ok(());
        }
        let wanted = names.first().map_or("", String::as_str);
        let near = nearest(wanted, functions(), 3);
        Err(Error::not_found_near("kernel function", wanted, near))
    }
}

#[cfg(test)]
mod tests {
    use kscope_spec::{AttachKind, ProgramType};
    use kscope_sys::{Bpf, Call, Errno, FakeKernel, FileIdentity, Reply};

    use super::*;

    const SYMBOLS: &str = "0000000000000000 T vfs_read\n0000000000000000 t vfs_write\t[nice]\n\
        0000000000000000 D vfs_data\n0000000000000000 T __x64_sys_openat\n\
        0000000000000000 T __arm64_sys_openat\n0000000000000000 T __traceiter_sched_switch\n\
        0000000000000000 T __traceiter_sys_enter\n0000000000000000 T __traceiter_nicely\t[nice]\n";

    #[track_caller]
    fn check(section: &str, has_kprobes: bool, expected: &str) {
        let fake = FakeKernel::new(move |call| match call {
            Call::ReadFile(path) => {
                let text = match path.to_str().unwrap_or_default() {
                    "/proc/kallsyms" => SYMBOLS,
                    "/sys/bus/event_source/devices/kprobe/type" if has_kprobes => "8\n",
                    "/sys/kernel/tracing/events/sched/sched_switch/id" => "3\n",
                    "/sys/kernel/tracing/available_events" => "sched:sched_switch\n",
                    _ => return Err(Errno::NOENT),
                };
                Ok(Reply::Bytes(text.into()))
            }
            Call::Identity(path) if path.starts_with("/no") => Err(Errno::NOENT),
            Call::Identity(_) => Ok(Reply::Identity(FileIdentity {
                major: 0,
                minor: 1,
                inode: 2,
            })),
            Call::Bpf(Bpf::LinkCreate(_)) => Err(Errno::INVAL),
            Call::Bpf(_) => FakeKernel::object(),
            Call::MapFile(_) => Err(Errno::NODEV),
            other => panic!("{other:?}"),
        });
        let program = Program::fake(fake, ProgramType::Kprobe, AttachKind::None, section);
        let found = program.look_for_target();
        let told = found.map_or_else(|error| error.to_string(), |()| "there".to_owned());
        assert_eq!(told, expected, "{section}");
    }

    #[test]
    fn targets_are_looked_for_and_nothing_is_attached() {
        check("kprobe/vfs_read", true, "there");
        check("kretprobe/vfs_write", true, "there");
        check("kprobe/vfs_read+4", true, "there");
        check(
            "kprobe/vfs_raed",
            true,
            "there is no kernel function vfs_raed; did you mean vfs_read?",
        );
        check(
            "kprobe/vfs_data",
            true,
            "there is no kernel function vfs_data",
        );
        check(
            "kprobe/vfs_read",
            false,
            "this kernel has no kprobes (it comes with CONFIG_KPROBE_EVENTS)",
        );
        check("ksyscall/openat", true, "there");
        check("ksyscall/opennat", true, "there is no system call opennat");
        check("tracepoint/sched/sched_switch", true, "there");
        check(
            "tp/sched/sched_swich",
            true,
            "there is no tracepoint sched:sched_swich; did you mean sched:sched_switch?",
        );
        check(
            "tp/sched_switch",
            true,
            "section tp/sched_switch of program p is not tracepoint/category/name",
        );
        check("uprobe//no/such:f", true, "there is no file /no/such");
        check("uprobe//no/such:0x10", true, "there is no file /no/such");
        check("uprobe//bin/app:0x10", true, "there");
        check(
            "uprobe//bin/app:0xffffffffffffffff+1",
            true,
            "section uprobe//bin/app:0xffffffffffffffff+1 of program p is not \
             uprobe/path:function+offset",
        );
        check(
            "kprobe.multi/vfs_*",
            false,
            "this kernel has no kprobe_multi (it comes with Linux 5.18 with CONFIG_FPROBE)",
        );
        check("usdt//no/such:a:b", true, "there is no file /no/such");
        check("raw_tp/sched_switch", true, "there");
        check("raw_tp.w/nicely", true, "there");
        check(
            "raw_tracepoint/sys_enterr",
            true,
            "there is no raw tracepoint sys_enterr; did you mean sys_enter?",
        );
        check(
            "raw_tp/sched/sched_switch",
            true,
            "there is no raw tracepoint sched/sched_switch; did you mean sched_switch?",
        );
        check("kprobe", true, "there");
        check("xdp", true, "there");
    }

    #[test]
    #[cfg(all(feature = "check", feature = "inspect"))]
    fn a_raw_tracepoint_has_the_arguments_that_its_type_says() {
        use kscope_btf::{Encoding, write::Builder};
        /// `typedef void (*btf_trace_sched_switch)(void *, int)`
        fn types() -> Vec<u8> {
            let mut b = Builder::new();
            let int = b.add_int("int", 4, Encoding::Signed);
            let data = b.add_ptr(kscope_btf::TypeId::VOID);
            let void = kscope_btf::TypeId::VOID;
            let proto = b.add_func_proto(void, &[("__data", data), ("x", int)]);
            let pointer = b.add_ptr(proto);
            b.add_typedef("btf_trace_sched_switch", pointer);
            b.finish()
        }
        let check = |offset: i16, expected: &str| {
            let fake = FakeKernel::new(move |call| match call {
                Call::ReadFile(path) => match path.to_str().unwrap_or_default() {
                    "/proc/kallsyms" => Ok(Reply::Bytes(SYMBOLS.into())),
                    "/sys/kernel/btf/vmlinux" => Ok(Reply::Bytes(types())),
                    _ => Err(Errno::NOENT),
                },
                Call::Bpf(Bpf::ProgramImage { into, .. }) => {
                    let read = kscope_spec::Insn {
                        code: 0x79,
                        dst: 2,
                        src: 1,
                        off: offset,
                        ..kscope_spec::Insn::default()
                    };
                    into.translated = read.encode().to_vec();
                    Ok(Reply::Done)
                }
                _ => Err(Errno::NODEV),
            });
            let kind = ProgramType::RawTracepoint;
            let program = Program::fake(fake, kind, AttachKind::None, "raw_tp/sched_switch");
            let found = program.look_for_target();
            let told = found.map_or_else(|error| error.to_string(), |()| "there".to_owned());
            assert_eq!(told, expected, "{offset}");
        };
        check(0, "there");
        let more = "the program reads more arguments than raw tracepoint sched_switch has";
        check(8, more);
    }

    #[test]
    fn tracepoints_are_not_there_for_those_to_whom_tracefs_is_closed() {
        let check = |errno, capabilities, expected: &str| {
            let fake = FakeKernel::new(move |call| match call {
                Call::Identity(_) => Err(errno),
                Call::Capabilities => Ok(Reply::Number(capabilities)),
                other => panic!("{other:?}"),
            });
            let program = Program::fake(
                fake,
                ProgramType::Tracepoint,
                AttachKind::None,
                "tp/sched/sched_switch",
            );
            let found = program.look_for_target();
            let told = found.map_or_else(|error| error.to_string(), |()| "there".to_owned());
            assert!(told.contains(expected), "{told}");
        };
        check(
            Errno::ACCES,
            u64::MAX,
            "/sys/kernel/tracing is closed to this user",
        );
        check(Errno::NOENT, 0, "tracefs is not mounted");
        check(Errno::NOENT, u64::MAX, "there");
    }
}
