//! The programs that copy tasks, and what they write.
//!
//! A record is 64-bit numbers in the order of [`Layout::fields`], then what `bpf_get_task_stack`
//! gave, then so many bytes of frames.

use kscope_btf::Btf;
use kscope_memory::FieldAt;
use kscope_spec::insn::{AluOp, Cond, Insn, Reg, Size};
use kscope_spec::{
    AttachKind, MapId, MapKind, MapSpec, ProgramSpec, ProgramType, Reloc, RelocKind, Spec, helper,
};

use crate::error::Error;

/// Most frames of a stack.
pub(super) const FRAMES: usize = 64;
/// Bytes of a number.
const NUMBER: usize = 8;
/// Bytes of a task's name.
const COMM: usize = 16;

/// What is copied of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Field {
    /// Where it is.
    Address,
    Pid,
    Tgid,
    Comm,
    CommRest,
    State,
    ExitState,
    Flags,
    Cpu,
    OnCpu,
    Switches,
    ForcedSwitches,
    Arrived,
    Parent,
    Blocker,
    MutexOwner,
    SemaphoreHolder,
    RwsemOwner,
    /// Number and arguments of its system call.
    Register(u8),
}

/// From where it is copied.
#[derive(Clone, Copy, Debug)]
enum From {
    /// The task's address itself.
    Task,
    /// The task.
    Member(Size, i16),
    /// What the task's pointer at this offset leads to.
    Behind(i16, i32, Size),
    /// The lock that it waits for.
    Lock(i32),
    /// The registers of its program.
    Registers(i16),
}

/// Which members this kernel's tasks have.
#[derive(Debug)]
pub(super) struct Layout {
    fields: Vec<(Field, From)>,
    pt_regs: bool,
    sched_info: bool,
}

/// A task as it was copied.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    pub(super) address: u64,
    pub(super) pid: u32,
    pub(super) tgid: u32,
    pub(super) ppid: Option<u32>,
    pub(super) comm: String,
    pub(super) state: u64,
    pub(super) exit_state: u64,
    pub(super) flags: u64,
    pub(super) cpu: u32,
    pub(super) on_cpu: bool,
    pub(super) switches: u64,
    /// When it last came to a CPU, in nanoseconds of the scheduler's clock; 0 where that is not known.
    pub(super) arrived: u64,
    pub(super) blocker: u64,
    pub(super) mutex_owner: u64,
    pub(super) semaphore_holder: u64,
    pub(super) rwsem_owner: u64,
    pub(super) syscall: Option<(u64, [u64; 6])>,
    pub(super) stack: Vec<u64>,
    /// Why there is no stack, as the kernel says it.
    pub(super) error: Option<i64>,
}

impl Record {
    /// Tells whether it is the thread that walks: of others that run there is no stack.
    pub(super) fn asks(&self) -> bool {
        self.on_cpu && !self.stack.is_empty()
    }

    pub(super) fn is_kernel_thread(&self) -> bool {
        const PF_KTHREAD: u64 = 0x0020_0000;
        self.flags & PF_KTHREAD != 0
    }
}

/// The registers of a system call: its number and its arguments in their order.
const REGISTERS: [&str; 7] = ["orig_ax", "di", "si", "dx", "r10", "r8", "r9"];

impl Layout {
    pub(super) fn of(btf: &Btf) -> Result<Layout, Error> {
        let mut layout = Layout {
            fields: vec![(Field::Address, From::Task)],
            pt_regs: false,
            sched_info: false,
        };
        let needed = [
            (Field::Pid, &["pid"][..]),
            (Field::Tgid, &["tgid"]),
            (Field::State, &["__state", "state"]),
            (Field::ExitState, &["exit_state"]),
            (Field::Flags, &["flags"]),
            (Field::Cpu, &["thread_info.cpu", "cpu"]),
            (Field::OnCpu, &["on_cpu"]),
            (Field::Switches, &["nvcsw"]),
            (Field::ForcedSwitches, &["nivcsw"]),
        ];
        for (field, names) in needed {
            let mut found = names.iter().map(|name| member(btf, name));
            let first = found.next().unwrap_or_else(|| Err(no_member(names[0])));
            let from = first.or_else(|error| found.find_map(Result::ok).ok_or(error))?;
            layout.fields.push((field, from));
        }
        let comm = FieldAt::of(btf, "task_struct", "comm").map_err(|_| no_member("comm"))?;
        for (field, rest) in [(Field::Comm, 0), (Field::CommRest, NUMBER as u64)] {
            let at = i16::try_from(comm.offset + rest).map_err(|_| no_member("comm"))?;
            layout.fields.push((field, From::Member(Size::DW, at)));
        }
        if let Ok(from) = member(btf, "sched_info.last_arrival") {
            layout.fields.push((Field::Arrived, from));
            layout.sched_info = true;
        }
        if let (Ok(From::Member(_, parent)), Ok(From::Member(size, tgid))) =
            (member(btf, "real_parent"), member(btf, "tgid"))
        {
            layout
                .fields
                .push((Field::Parent, From::Behind(parent, tgid.into(), size)));
        }
        layout.add_locks(btf);
        layout.add_registers(btf);
        Ok(layout)
    }

    fn add_locks(&mut self, btf: &Btf) {
        let Ok(blocker) = member(btf, "blocker") else {
            return;
        };
        self.fields.push((Field::Blocker, blocker));
        let owners = [
            (Field::MutexOwner, "mutex", "owner"),
            (Field::SemaphoreHolder, "semaphore", "last_holder"),
            (Field::RwsemOwner, "rw_semaphore", "owner"),
        ];
        for (field, of, name) in owners {
            let found = FieldAt::of(btf, of, name).ok();
            if let Some(at) = found.and_then(|found| i32::try_from(found.offset).ok()) {
                self.fields.push((field, From::Lock(at)));
            }
        }
    }

    /// The registers are asked for where the kernel has the helper and they are those of x86_64.
    fn add_registers(&mut self, btf: &Btf) {
        if !cfg!(target_arch = "x86_64") || btf.enumerator("BPF_FUNC_task_pt_regs").is_none() {
            return;
        }
        let at = |name: &&str| {
            let found = FieldAt::of(btf, "pt_regs", name).ok()?;
            i16::try_from(found.offset).ok()
        };
        let found: Option<Vec<i16>> = REGISTERS.iter().map(at).collect();
        for (number, at) in (0..).zip(found.unwrap_or_default()) {
            self.fields
                .push((Field::Register(number), From::Registers(at)));
            self.pt_regs = true;
        }
    }

    /// Says what this kernel does not tell.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        let has = |wanted: Field| self.fields.iter().any(|(field, _)| *field == wanted);
        let all = [
            (self.sched_info, "for how long (CONFIG_SCHED_INFO)"),
            (self.pt_regs, "system calls (Linux 5.15)"),
            (
                has(Field::Blocker),
                "locks (Linux 6.16 with CONFIG_DETECT_HUNG_TASK_BLOCKER)",
            ),
        ];
        let missing = all.into_iter().filter(|(there, _)| !there);
        missing.map(|(_, what)| what).collect()
    }

    /// Gives the programs: the first copies stacks as well.
    pub(super) fn spec(&self) -> Spec {
        let program = |name: &str, with_stack: bool| {
            let (insns, place) = self.insns(with_stack);
            ProgramSpec {
                name: name.to_owned(),
                kind: ProgramType::Tracing,
                attach: AttachKind::Iterator("task".to_owned()),
                insns,
                relocs: vec![Reloc {
                    insn: place,
                    kind: RelocKind::MapValue {
                        map: MapId(0),
                        offset: 0,
                    },
                }],
                ..ProgramSpec::default()
            }
        };
        Spec {
            maps: vec![MapSpec {
                name: "kscope_task".to_owned(),
                kind: MapKind::Array,
                key_size: 4,
                value_size: (self.stack_at() + FRAMES * NUMBER) as u32,
                max_entries: 1,
                ..MapSpec::default()
            }],
            programs: vec![
                program("kscope_stacks", true),
                program("kscope_again", false),
            ],
            license: "GPL".to_owned(),
            ..Spec::default()
        }
    }

    /// Where the length of the stack is in a record.
    fn length_at(&self) -> usize {
        self.fields.len() * NUMBER
    }

    fn stack_at(&self) -> usize {
        self.length_at() + NUMBER
    }

    /// Gives a program, and where in it the address of the map's value goes.
    fn insns(&self, with_stack: bool) -> (Vec<Insn>, u32) {
        let (context, task, value, length) = (Reg::R6, Reg::R7, Reg::R8, Reg::R9);
        let mut code = vec![
            Insn::mov64(context, Reg::R1),
            // struct bpf_iter__task: what is walked, and the task; none at the end.
            Insn::ldx(Size::DW, task, context, 8),
            Insn::jmp64_imm(Cond::Ne, task, 0, 2),
            Insn::mov64_imm(Reg::R0, 0),
            Insn::exit(),
        ];
        let place = code.len() as u32;
        code.extend(Insn::ld_imm64(value, 0));
        let mut has_registers = false;
        for (index, (_, from)) in self.fields.iter().enumerate() {
            let at = (index * NUMBER) as i16;
            if matches!(from, From::Registers(_)) && !has_registers {
                code.push(Insn::mov64(Reg::R1, task));
                code.push(Insn::call(helper::TASK_PT_REGS));
                has_registers = true;
            }
            self.copy(*from, at, &mut code);
        }
        let length_at = self.length_at() as i16;
        code.push(Insn::mov64_imm(length, 0));
        if with_stack {
            let pointer = |reg: Reg, code: &mut Vec<Insn>| {
                code.push(Insn::mov64(reg, value));
                let at = self.stack_at() as i32;
                code.push(Insn::alu64_imm(AluOp::Add, reg, at));
            };
            code.push(Insn::mov64(Reg::R1, task));
            pointer(Reg::R2, &mut code);
            code.push(Insn::mov64_imm(Reg::R3, (FRAMES * NUMBER) as i32));
            code.push(Insn::mov64_imm(Reg::R4, 0));
            code.push(Insn::call(helper::GET_TASK_STACK));
            code.push(Insn::mov64(length, Reg::R0));
        }
        code.push(Insn::stx(Size::DW, value, length_at, length));
        write(
            context,
            |code| {
                code.push(Insn::mov64(Reg::R2, value));
                code.push(Insn::mov64_imm(Reg::R3, self.stack_at() as i32));
            },
            &mut code,
        );
        if with_stack {
            let mut rest = Vec::new();
            write(
                context,
                |code| {
                    code.push(Insn::mov64(Reg::R2, value));
                    let at = self.stack_at() as i32;
                    code.push(Insn::alu64_imm(AluOp::Add, Reg::R2, at));
                    code.push(Insn::mov64(Reg::R3, length));
                },
                &mut rest,
            );
            // An error is a large number as well.
            let most = (FRAMES * NUMBER) as i32;
            code.push(Insn::jmp64_imm(Cond::Gt, length, most, rest.len() as i16));
            code.extend(rest);
        }
        code.extend([Insn::mov64_imm(Reg::R0, 0), Insn::exit()]);
        (code, place)
    }

    /// Copies a number into the record; the registers of the program are in `r0`.
    fn copy(&self, from: From, at: i16, code: &mut Vec<Insn>) {
        let (task, value) = (Reg::R7, Reg::R8);
        let mut read = |base: Insn, offset: i32, size: Size| {
            code.push(Insn::st(Size::DW, value, at, 0));
            code.push(base);
            code.push(Insn::alu64_imm(AluOp::Add, Reg::R3, offset));
            code.push(Insn::mov64(Reg::R1, value));
            code.push(Insn::alu64_imm(AluOp::Add, Reg::R1, at.into()));
            code.push(Insn::mov64_imm(Reg::R2, size.bytes() as i32));
            code.push(Insn::call(helper::PROBE_READ_KERNEL));
        };
        match from {
            From::Task => code.push(Insn::stx(Size::DW, value, at, task)),
            From::Member(size, offset) => {
                code.push(Insn::ldx(size, Reg::R1, task, offset));
                code.push(Insn::stx(Size::DW, value, at, Reg::R1));
            }
            From::Registers(offset) => {
                code.push(Insn::ldx(Size::DW, Reg::R1, Reg::R0, offset));
                code.push(Insn::stx(Size::DW, value, at, Reg::R1));
            }
            From::Behind(pointer, offset, size) => {
                read(Insn::ldx(Size::DW, Reg::R3, task, pointer), offset, size);
            }
            From::Lock(offset) => {
                let blocker = self.index(Field::Blocker).unwrap_or(0) * NUMBER;
                // Without the kind of the lock, which is in the lowest bits.
                let base = Insn::ldx(Size::DW, Reg::R3, value, blocker as i16);
                code.push(Insn::st(Size::DW, value, at, 0));
                code.push(base);
                code.push(Insn::alu64_imm(AluOp::And, Reg::R3, !3));
                code.push(Insn::jmp64_imm(Cond::Eq, Reg::R3, 0, 5));
                code.push(Insn::alu64_imm(AluOp::Add, Reg::R3, offset));
                code.push(Insn::mov64(Reg::R1, value));
                code.push(Insn::alu64_imm(AluOp::Add, Reg::R1, at.into()));
                code.push(Insn::mov64_imm(Reg::R2, NUMBER as i32));
                code.push(Insn::call(helper::PROBE_READ_KERNEL));
            }
        }
    }

    fn index(&self, wanted: Field) -> Option<usize> {
        self.fields.iter().position(|(field, _)| *field == wanted)
    }

    /// Takes apart what a program wrote; what is not whole at the end is left out.
    pub(super) fn records(&self, mut bytes: &[u8]) -> Vec<Record> {
        let mut records = Vec::new();
        while let Some((head, rest)) = bytes.split_at_checked(self.stack_at()) {
            let numbers = numbers(head);
            let length = numbers.last().copied().unwrap_or(0) as i64;
            let size = usize::try_from(length).unwrap_or(0).min(FRAMES * NUMBER);
            let Some((stack, rest)) = rest.split_at_checked(size) else {
                break;
            };
            records.push(self.record(&numbers, stack, length));
            bytes = rest;
        }
        records
    }

    fn record(&self, values: &[u64], stack: &[u8], length: i64) -> Record {
        let of = |field| {
            let at = self.index(field)?;
            values.get(at).copied()
        };
        let value = |field| of(field).unwrap_or(0);
        let comm = [value(Field::Comm), value(Field::CommRest)]
            .map(u64::to_ne_bytes)
            .concat();
        let end = comm.iter().position(|byte| *byte == 0).unwrap_or(COMM);
        let register = |number| of(Field::Register(number));
        let syscall = register(0).map(|call| {
            let arg = |number| register(number).unwrap_or(0);
            (call, [1, 2, 3, 4, 5, 6].map(arg))
        });
        Record {
            address: value(Field::Address),
            pid: value(Field::Pid) as u32,
            tgid: value(Field::Tgid) as u32,
            ppid: of(Field::Parent).map(|ppid| ppid as u32),
            comm: String::from_utf8_lossy(&comm[..end]).into_owned(),
            state: value(Field::State),
            exit_state: value(Field::ExitState),
            flags: value(Field::Flags),
            cpu: value(Field::Cpu) as u32,
            on_cpu: value(Field::OnCpu) != 0,
            switches: value(Field::Switches).wrapping_add(value(Field::ForcedSwitches)),
            arrived: value(Field::Arrived),
            blocker: value(Field::Blocker),
            mutex_owner: value(Field::MutexOwner),
            semaphore_holder: value(Field::SemaphoreHolder),
            rwsem_owner: value(Field::RwsemOwner),
            syscall,
            stack: numbers(stack)
                .into_iter()
                .filter(|address| *address != 0)
                .collect(),
            error: (length < 0).then_some(-length),
        }
    }
}

fn numbers(bytes: &[u8]) -> Vec<u64> {
    let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_ne_bytes);
    bytes.chunks_exact(NUMBER).map(number).collect()
}

/// Calls `bpf_seq_write` with the data that `set` puts into `r2` and `r3`.
fn write(context: Reg, set: impl Fn(&mut Vec<Insn>), code: &mut Vec<Insn>) {
    // The context's first member is what is walked, whose first one is the file.
    code.push(Insn::ldx(Size::DW, Reg::R1, context, 0));
    code.push(Insn::ldx(Size::DW, Reg::R1, Reg::R1, 0));
    set(code);
    code.push(Insn::call(helper::SEQ_WRITE));
}

/// Finds a number that is a member of tasks.
fn member(btf: &Btf, path: &str) -> Result<From, Error> {
    let missing = || no_member(path);
    let found = FieldAt::of(btf, "task_struct", path).map_err(|_| missing())?;
    let size = btf
        .size_of(found.type_id)
        .and_then(|size| usize::try_from(size).ok());
    let size = size.and_then(Size::from_bytes).ok_or_else(missing)?;
    let at = i16::try_from(found.offset).map_err(|_| missing())?;
    Ok(From::Member(size, at))
}

fn no_member(name: &str) -> Error {
    Error::Types {
        path: "the kernel's types".to_owned(),
        why: format!("struct task_struct has no member `{name}` that is a number"),
    }
}
