//! Follows a stack from callee to caller.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use kscope_memory::{GapAt, Memory, VirtAddr};

use super::call_site;
use super::orc::{Base, Entry, Kind, Orc, OrcVersion};
use crate::bytes::u64_at;
use crate::facts::kernel::Kernel;
use crate::facts::module::OrcTable;
use crate::facts::x86_64::{PT_REGS, Registers};
use crate::{Error, OnCpu, Task};

/// Most frames of a stack.
const FRAMES: usize = 512;

/// How a frame was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameFrom {
    /// From the registers of a CPU.
    Registers,
    /// From where a task that sleeps keeps its registers.
    Switch,
    /// By the unwind entry of the frame before.
    Orc,
    /// By an unwind entry that leads to registers which an exception or interrupt saved.
    Exception,
    /// By a return address behind a call of the frame before, which has no unwind entry.
    CallSite,
    /// By the base pointer, as in code made at run time.
    FramePointer,
}

/// A frame of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it goes on: behind the call, or at the instruction that was interrupted.
    pub pc: VirtAddr,
    /// Its stack pointer there.
    pub sp: VirtAddr,
    /// How it was found.
    pub from: FrameFrom,
    /// Whether `pc` is the instruction itself and not one behind a call.
    pub interrupted: bool,
    /// The registers that an exception saved, where it was found by them.
    pub registers: Option<Registers>,
}

impl Frame {
    /// Gives an address inside of the instruction that the frame is in, which may be the last one
    /// of its function.
    #[must_use]
    pub fn code(&self) -> VirtAddr {
        if self.interrupted {
            self.pc
        } else {
            VirtAddr(self.pc.0.saturating_sub(1))
        }
    }
}

/// Where a stack ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackEnd {
    /// At user mode, with its registers.
    User(Registers),
    /// At the first frame of a kernel thread.
    Bottom,
    /// At code that is freed once the kernel has started, and has no unwind entry.
    InitCode,
    /// At code without an unwind entry, and without a call of it on the stack.
    NoEntry,
    /// At memory that cannot be read.
    Gap(GapAt),
    /// At a frame that was there before.
    Cycle,
    /// At the bound on frames.
    TooDeep,
}

impl StackEnd {
    /// Tells whether the stack is whole.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(
            self,
            StackEnd::User(_) | StackEnd::Bottom | StackEnd::InitCode
        )
    }
}

/// A stack: frames from the innermost out, and where they end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// The frames.
    pub frames: Vec<Frame>,
    /// Where they end.
    pub end: StackEnd,
}

/// Unwinds stacks of one kernel. Tables of modules are read when code of theirs is met.
pub struct Unwinder<'k> {
    kernel: &'k Kernel,
    orc: &'k Orc,
    text: (VirtAddr, VirtAddr),
    init_text: Option<(VirtAddr, VirtAddr)>,
    modules: Mutex<HashMap<VirtAddr, Option<Arc<Orc>>>>,
    /// Offsets of a sleeping task's saved registers.
    switch: Option<Switch>,
}

/// Where `struct inactive_task_frame` keeps what.
#[derive(Clone, Copy)]
struct Switch {
    size: u64,
    bp: u64,
    ret: u64,
}

/// What is known of the registers of a frame.
#[derive(Clone, Copy, Default)]
struct Known {
    sp: u64,
    bp: u64,
    ax: Option<u64>,
    dx: Option<u64>,
    di: Option<u64>,
    r10: Option<u64>,
    r13: Option<u64>,
}

impl Known {
    fn of(r: &Registers) -> Known {
        Known {
            sp: r.rsp,
            bp: r.rbp,
            ax: Some(r.rax),
            dx: Some(r.rdx),
            di: Some(r.rdi),
            r10: Some(r.r10),
            r13: Some(r.r13),
        }
    }
}

/// What comes after a frame.
enum Step {
    Frame(Frame),
    End(StackEnd),
}

impl<'k> Unwinder<'k> {
    pub(crate) fn new(kernel: &'k Kernel) -> Result<Unwinder<'k>, Error> {
        let orc = kernel.orc.get_or_init(|| {
            let start = kernel.need("__start_orc_unwind_ip")?;
            let stop = kernel.need("__stop_orc_unwind_ip")?;
            let table = OrcTable {
                addresses: start,
                entries: kernel.need("__start_orc_unwind")?,
                count: stop.offset_from(start).unwrap_or(0) / 4,
            };
            Orc::read(kernel, table, None)
        });
        let orc = orc.as_ref().map_err(Clone::clone)?;
        let range = |start: &str, stop: &str| {
            let range = (kernel.global(start)?, kernel.global(stop)?);
            (range.0 < range.1).then_some(range)
        };
        let text = range("_stext", "_etext").ok_or(Error::NoSymbol("_etext".to_owned()))?;
        Ok(Unwinder {
            kernel,
            orc,
            text,
            init_text: range("_sinittext", "_einittext"),
            modules: Mutex::new(HashMap::new()),
            switch: switch(kernel),
        })
    }

    /// Tells the version of the unwind tables.
    #[must_use]
    pub fn version(&self) -> OrcVersion {
        self.orc.version()
    }

    /// Unwinds the stack of a task that is on no CPU.
    #[must_use]
    pub fn sleeping(&self, task: &Task) -> Stack {
        let start = || -> Result<Stack, GapAt> {
            let Some(switch) = self.switch else {
                return Ok(Stack {
                    frames: Vec::new(),
                    end: StackEnd::NoEntry,
                });
            };
            let at = |offset: u64| VirtAddr(task.saved_sp.0.wrapping_add(offset));
            let known = Known {
                sp: at(switch.size).0,
                bp: self.kernel.read_u64(at(switch.bp))?,
                ..Known::default()
            };
            let first = Frame {
                pc: VirtAddr(self.kernel.read_u64(at(switch.ret))?),
                sp: VirtAddr(known.sp),
                from: FrameFrom::Switch,
                interrupted: false,
                registers: None,
            };
            Ok(self.follow(first, known))
        };
        start().unwrap_or_else(|gap| Stack {
            frames: Vec::new(),
            end: StackEnd::Gap(gap),
        })
    }

    /// Unwinds a stack from registers.
    #[must_use]
    pub fn running(&self, registers: &Registers) -> Stack {
        if registers.is_user() {
            return Stack {
                frames: Vec::new(),
                end: StackEnd::User(*registers),
            };
        }
        let first = Frame {
            pc: VirtAddr(registers.rip),
            sp: VirtAddr(registers.rsp),
            from: FrameFrom::Registers,
            interrupted: true,
            registers: Some(*registers),
        };
        self.follow(first, Known::of(registers))
    }

    /// Unwinds the stack of a task that may have run on a CPU: from the registers that it had there,
    /// else from where it sleeps. There is none of a task that is not known and had no registers.
    #[must_use]
    pub fn stack(&self, task: Option<&Task>, on_cpu: Option<&OnCpu>) -> Option<Stack> {
        match on_cpu.and_then(|on| on.registers) {
            Some(registers) => Some(self.running(&registers)),
            None => task.map(|task| self.sleeping(task)),
        }
    }

    fn follow(&self, first: Frame, known: Known) -> Stack {
        let mut known = known;
        let mut frames = vec![first];
        let mut seen = HashSet::from([(first.pc, first.sp)]);
        let mut frame = first;
        let end = loop {
            frame = match self.step(&frame, &mut known) {
                Ok(Step::Frame(next)) => next,
                Ok(Step::End(end)) => break end,
                Err(gap) => break StackEnd::Gap(gap),
            };
            if !seen.insert((frame.pc, frame.sp)) {
                break StackEnd::Cycle;
            }
            if frames.len() >= FRAMES {
                break StackEnd::TooDeep;
            }
            frames.push(frame);
        };
        Stack { frames, end }
    }

    fn step(&self, frame: &Frame, known: &mut Known) -> Result<Step, GapAt> {
        let code = frame.code();
        let inside = |range: (VirtAddr, VirtAddr)| (range.0..range.1).contains(&code);
        let entry = self.entry(code);
        match entry.map(|e| (e.kind, e)) {
            Some((Kind::End, _)) => Ok(Step::End(StackEnd::Bottom)),
            Some((Kind::Call | Kind::Registers | Kind::Partial, entry)) => {
                self.by_entry(entry, known)
            }
            // Its entries are kept when the code itself is freed.
            _ if self.init_text.is_some_and(inside) => Ok(Step::End(StackEnd::InitCode)),
            Some((Kind::Undefined, _)) => Ok(self.by_call_site(code, known)),
            None if inside(self.text) || self.kernel.module_at(code).is_some() => {
                Ok(self.by_call_site(code, known))
            }
            None => self.by_frame_pointer(known),
        }
    }

    fn entry(&self, code: VirtAddr) -> Option<Entry> {
        let inside = |range: (VirtAddr, VirtAddr)| (range.0..range.1).contains(&code);
        if inside(self.text) || self.init_text.is_some_and(inside) {
            return self.orc.find(code);
        }
        let module = self.kernel.module_at(code)?;
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        let orc = modules.entry(module.addr).or_insert_with(|| {
            let read = Orc::read(self.kernel, module.orc?, Some(self.orc.version()));
            read.ok().map(Arc::new)
        });
        let orc = orc.clone()?;
        drop(modules);
        orc.find(code)
    }

    fn by_entry(&self, entry: Entry, known: &mut Known) -> Result<Step, GapAt> {
        let read = |at: u64| self.kernel.read_u64(VirtAddr(at));
        let offset = |base: u64| base.wrapping_add(entry.sp_offset as u64);
        let register = match entry.sp {
            Base::Sp => Some(known.sp),
            Base::Bp => Some(known.bp),
            Base::Ax => known.ax,
            Base::Dx => known.dx,
            Base::Di => known.di,
            Base::R10 => known.r10,
            Base::R13 => known.r13,
            Base::AtSp => Some(read(known.sp)?),
            Base::AtBp => Some(read(offset(known.bp))?),
            Base::Undefined | Base::Frame => None,
        };
        let Some(register) = register else {
            return Ok(Step::End(StackEnd::NoEntry));
        };
        let cfa = match entry.sp {
            Base::AtBp => register,
            _ => offset(register),
        };
        if entry.kind == Kind::Registers {
            return self.by_saved(cfa, known);
        }
        let before = *known;
        // What a call may change is not known in the caller.
        *known = Known {
            bp: before.bp,
            ..Known::default()
        };
        match entry.bp {
            Base::Frame => known.bp = read(cfa.wrapping_add(entry.bp_offset as u64))?,
            Base::Bp => known.bp = read(before.bp.wrapping_add(entry.bp_offset as u64))?,
            _ => {}
        }
        let (pc, sp, from, interrupted) = if entry.kind == Kind::Partial {
            // The machine itself pushes the instruction, its segment, flags, stack and segment.
            let cs = read(cfa.wrapping_add(8))?;
            let (rip, rsp) = (read(cfa)?, read(cfa.wrapping_add(24))?);
            if cs & 3 != 0 {
                return Ok(Step::End(StackEnd::User(Registers {
                    rip,
                    cs,
                    rsp,
                    rflags: read(cfa.wrapping_add(16))?,
                    ss: read(cfa.wrapping_add(32))?,
                    ..Registers::default()
                })));
            }
            known.r10 = before.r10;
            known.r13 = before.r13;
            (rip, rsp, FrameFrom::Exception, true)
        } else {
            (read(cfa.wrapping_sub(8))?, cfa, FrameFrom::Orc, false)
        };
        known.sp = sp;
        Ok(Step::Frame(Frame {
            pc: VirtAddr(pc),
            sp: VirtAddr(sp),
            from,
            interrupted,
            registers: None,
        }))
    }

    /// Goes on from registers that an exception, an interrupt or a system call saved.
    fn by_saved(&self, at: u64, known: &mut Known) -> Result<Step, GapAt> {
        let mut raw = [0; PT_REGS];
        self.kernel.read(VirtAddr(at), &mut raw)?;
        let registers = Registers::from_pt_regs(&raw);
        if registers.is_user() {
            return Ok(Step::End(StackEnd::User(registers)));
        }
        *known = Known::of(&registers);
        Ok(Step::Frame(Frame {
            pc: VirtAddr(registers.rip),
            sp: VirtAddr(registers.rsp),
            from: FrameFrom::Exception,
            interrupted: true,
            registers: Some(registers),
        }))
    }

    /// Goes on behind the call of a function that has no entry.
    fn by_call_site(&self, code: VirtAddr, known: &mut Known) -> Step {
        let function = self.kernel.symbolize(code).map(|f| f.symbol.address);
        let found = function.and_then(|f| call_site::find(self.kernel, f, VirtAddr(known.sp)));
        let Some((at, pc)) = found else {
            return Step::End(StackEnd::NoEntry);
        };
        *known = Known {
            sp: at.0.wrapping_add(8),
            bp: known.bp,
            ..Known::default()
        };
        Step::Frame(Frame {
            pc,
            sp: VirtAddr(known.sp),
            from: FrameFrom::CallSite,
            interrupted: false,
            registers: None,
        })
    }

    /// Goes on by the base pointer, which code made at run time (eBPF programs, trampolines) keeps.
    fn by_frame_pointer(&self, known: &mut Known) -> Result<Step, GapAt> {
        // A base pointer below the stack pointer is none.
        if known.bp < known.sp || !VirtAddr(known.bp).is_kernel() {
            return Ok(Step::End(StackEnd::NoEntry));
        }
        let mut raw = [0; 16];
        self.kernel.read(VirtAddr(known.bp), &mut raw)?;
        let pc = VirtAddr(u64_at(&raw, 8));
        if !pc.is_kernel() {
            return Ok(Step::End(StackEnd::NoEntry));
        }
        *known = Known {
            sp: known.bp.wrapping_add(16),
            bp: u64_at(&raw, 0),
            ..Known::default()
        };
        Ok(Step::Frame(Frame {
            pc,
            sp: VirtAddr(known.sp),
            from: FrameFrom::FramePointer,
            interrupted: false,
            registers: None,
        }))
    }
}

fn switch(kernel: &Kernel) -> Option<Switch> {
    use kscope_memory::FieldAt;
    let frame = |path: &str| {
        let btf = kernel.btf().ok()?;
        FieldAt::of(btf, "inactive_task_frame", path).ok()
    };
    let (bp, ret) = (frame("bp")?.offset, frame("ret_addr")?.offset);
    Some(Switch {
        size: ret + 8,
        bp,
        ret,
    })
}

impl core::fmt::Debug for Unwinder<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Unwinder")
            .field("version", &self.version())
            .field("entries", &self.orc.len())
            .finish_non_exhaustive()
    }
}
