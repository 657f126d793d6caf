//! Values that only the target knows.

use std::os::fd::AsFd;
use std::path::Path;

use kscope_spec::{LateKind, LateValue};
use kscope_sys::{CpuSet, FileIdentity, Kernel, ProgramLoad, TestRun};

use crate::error::Error;
use crate::loader::SymbolResolver;
use crate::named::Named;

/// Inode of the initial pid namespace (`PROC_PID_INIT_INO`, include/linux/proc_ns.h).
const INITIAL_PID_NAMESPACE: u64 = 0xefff_fffc;

/// What is missing where a kernel symbol has no address.
pub(crate) const KERNEL_SYMBOL: &str = "kernel symbol";

/// Gives names of kernel symbols that are near to one that is missing, the nearest first.
pub type NearSymbols<'a> = &'a dyn Fn(&str) -> Vec<String>;

/// Where late values come from.
pub(crate) struct LateSources<'a> {
    pub(crate) kernel: &'a dyn Kernel,
    pub(crate) numbers: &'a Named<u64>,
    pub(crate) symbols: Option<SymbolResolver<'a>>,
    pub(crate) near_symbols: Option<NearSymbols<'a>>,
}

impl LateSources<'_> {
    pub(crate) fn value(&self, late: &LateValue) -> Result<u64, Error> {
        match &late.kind {
            LateKind::Number => self
                .numbers
                .get(&late.name)
                .copied()
                .ok_or_else(|| Error::invalid(format!("no value was given for {}", late.name))),
            LateKind::KernelSymbol(symbol) => self
                .symbols
                .and_then(|resolve| resolve(symbol))
                .ok_or_else(|| {
                    let near = self.near_symbols.map(|near| near(symbol));
                    Error::NotFound {
                        what: KERNEL_SYMBOL,
                        name: symbol.clone(),
                        near: near.unwrap_or_default(),
                    }
                }),
            LateKind::KernelSymbolOrZero(symbol) => {
                let found = self.symbols.and_then(|resolve| resolve(symbol));
                Ok(found.unwrap_or(0))
            }
            LateKind::CpuCount => {
                let cpus = self.kernel.cpus(CpuSet::Possible);
                let cpus = cpus.map_err(|e| Error::os("read", e, "the list of possible CPUs"))?;
                Ok(cpus.len() as u64)
            }
            LateKind::PidNamespaceDev => Ok(self.pid_namespace()?.kernel_dev()),
            LateKind::PidNamespaceInode => Ok(Some(self.pid_namespace()?.inode)
                .filter(|&inode| inode != INITIAL_PID_NAMESPACE)
                .unwrap_or(0)),
            LateKind::OwnPid => {
                if self.pid_namespace()?.inode == INITIAL_PID_NAMESPACE {
                    Ok(u64::from(std::process::id()))
                } else {
                    self.pid_by_program()
                }
            }
        }
    }

    fn pid_namespace(&self) -> Result<FileIdentity, Error> {
        let path = "/proc/self/ns/pid";
        self.kernel
            .identity(Path::new(path))
            .map_err(|e| Error::os("stat", e, path))
    }

    /// Asks the kernel for the pid in the initial namespace, which no file of a container tells:
    /// a raw tracepoint program that returns it, run once on our own thread.
    fn pid_by_program(&self) -> Result<u64, Error> {
        const RAW_TRACEPOINT: u32 = 17;
        const INSNS: [u8; 24] = [
            0x85, 0, 0, 0, 14, 0, 0, 0, // call bpf_get_current_pid_tgid
            0x77, 0, 0, 0, 32, 0, 0, 0, // r0 >>= 32
            0x95, 0, 0, 0, 0, 0, 0, 0, // exit
        ];
        let os = |call| move |errno| Error::os(call, errno, "the program that tells our pid");
        let load = ProgramLoad {
            kind: RAW_TRACEPOINT,
            name: "kscope_pid",
            insns: &INSNS,
            license: "GPL",
            ..ProgramLoad::default()
        };
        let program = self
            .kernel
            .program_load(load)
            .map_err(os("BPF_PROG_LOAD"))?;
        let run = TestRun {
            program: Some(program.as_fd()),
            ..TestRun::default()
        };
        let outcome = self.kernel.test_run(run).map_err(os("BPF_PROG_TEST_RUN"))?;
        Ok(u64::from(outcome.result))
    }
}
