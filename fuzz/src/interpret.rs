//! Scripts over memory of any content.

use kscope_memory::{Gap, GapAt, Memory, VirtAddr, hlist, rbtree};
use kscope_script::compile::Options;
use kscope_script::interpret::{Fault, Interpreter, Walk, WalkKind, World, compile};
use kscope_script::types::Inputs;

use super::{LONGEST, kernel};

/// Most steps of a program.
const STEPS: u64 = 1 << 15;
/// Most elements of a walk.
const WALKED: usize = 1 << 10;
/// How many objects an iterator gives.
const OBJECTS: u64 = 4;

/// Some bytes, over and over again from one end of the kernel's addresses to the other; one page of eight is lost.
struct Again<'a>(&'a [u8]);

impl Memory for Again<'_> {
    fn read(&self, addr: VirtAddr, buf: &mut [u8]) -> Result<(), GapAt> {
        let why = match addr.0 >> 12 & 7 {
            _ if !addr.is_kernel() || self.0.is_empty() => Some(Gap::Unmapped),
            7 => Some(Gap::Lost),
            _ => None,
        };
        if let Some(why) = why {
            let len = buf.len() as u64;
            return Err(GapAt { addr, len, why });
        }
        let start = (addr.0 % self.0.len() as u64) as usize;
        let bytes = self.0.iter().cycle().skip(start);
        buf.iter_mut().zip(bytes).for_each(|(to, byte)| *to = *byte);
        Ok(())
    }
}

impl Again<'_> {
    /// Gives a number of bytes from an address on, of which a text is made.
    fn text(&self, at: VirtAddr) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 24];
        self.read(at, &mut bytes).ok()?;
        bytes.retain(|byte| *byte != 0);
        Some(bytes)
    }
}

impl World for Again<'_> {
    fn memory(&self) -> &dyn Memory {
        self
    }

    fn clock(&self, tai: bool) -> u64 {
        if tai { 1 << 60 } else { 1 << 40 }
    }

    fn task_stack(&self, task: VirtAddr) -> Option<Vec<u64>> {
        let words = (0..4).map(|at| self.read_u64(VirtAddr(task.0.wrapping_add(8 * at))));
        words.collect::<Result<_, _>>().ok()
    }

    fn walk(&self, kind: WalkKind, root: VirtAddr) -> Walk {
        let links: Vec<_> = match kind {
            WalkKind::Hlist => hlist(self, root, WALKED).collect(),
            WalkKind::Rbtree => rbtree(self, root, WALKED).collect(),
            WalkKind::Xarray | WalkKind::Maple => {
                let entry = |at: u64| self.read_u64(VirtAddr(root.0.wrapping_add(8 * at)));
                let entries = (0..64).map(|at| Ok(VirtAddr(entry(at)?)));
                entries.collect()
            }
        };
        let fault = links.iter().find_map(|link| link.err());
        Walk {
            found: links.iter().flatten().map(|link| link.0).collect(),
            fault: fault.map(|fault| fault.to_string()),
        }
    }

    fn fault(&self, fault: String) {
        assert!(!fault.is_empty());
    }

    fn path(&self, path: VirtAddr) -> Option<Vec<u8>> {
        self.text(path)
    }

    fn dentry_path(&self, dentry: VirtAddr, _: Option<VirtAddr>) -> Option<Vec<u8>> {
        self.text(dentry)
    }
}

/// Runs a script, which ends at the first NUL, over memory that is the bytes behind that. Whatever they are, each
/// program ends, and its code is never at fault.
pub fn interpret(bytes: &[u8]) -> bool {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let source = parts.next().map(std::str::from_utf8);
    let (Some(Ok(source)), Some(memory)) = (source, parts.next()) else {
        return false;
    };
    if source.len() > LONGEST {
        return false;
    }
    let types = kernel::types();
    let catalogue = kernel::catalogue();
    let mut inputs = Inputs::new(&catalogue);
    inputs.btf = Some(&types);
    inputs.interpreted = true;
    let Some(code) = compile(source, &inputs, Options::default()).0 else {
        return false;
    };
    let world = Again(memory);
    let late = (0..code.late.len() as u64).map(|number| 0xffff_8880_0000_0000 + 64 * number);
    let mut interpreter = Interpreter::new(&code.functions, &code.maps, late.collect(), &world);
    interpreter = interpreter.with_most_steps(STEPS);
    let mut sent = 0;
    for number in 0..OBJECTS {
        // The second of them is what an iterator looks at.
        let mut context = [0; 64];
        let words = context.chunks_exact_mut(8);
        for (to, from) in words.zip(memory.chunks_exact(8).skip(number as usize)) {
            to.copy_from_slice(from);
        }
        for program in 0..code.functions.len() {
            match interpreter.run(program, &context) {
                Ok(_) | Err(Fault::Endless | Fault::NoRoom) => {}
                Err(fault) => panic!("{fault}: {source}"),
            }
            while let Some(event) = interpreter.next_event() {
                sent += event.len();
            }
        }
    }
    let reads = interpreter.reads();
    assert!(reads.missing() + reads.astray <= reads.all, "{reads:?}");
    let mut kept = 0;
    for map in &code.plan.maps {
        kept += interpreter.entries(map.map).count();
        interpreter.clear(map.map);
        assert_eq!(interpreter.entries(map.map).count(), 0);
    }
    sent + kept > 0 && reads.all > 0
}
