//! Ways out of what the verifier refuses.

use super::VerifierLog;
use crate::search::has;

/// Words of a telling line, all of which it has, and what to do.
const ADVICE: &[(&[&str], &str)] = &[
    (
        &["invalid mem access", "map_value_or_null"],
        "compare what the lookup in the map gave with NULL before using it",
    ),
    (
        &["invalid mem access", "_or_null"],
        "compare the pointer with NULL before using it",
    ),
    (
        &["invalid mem access", "'scalar'"],
        "the register holds a plain number: kernel memory is read through bpf_probe_read_kernel \
         or BPF_CORE_READ, and a pointer that was given back (submitted, released) is none any more",
    ),
    (
        &["invalid mem access", "'inv'"],
        "the register holds a plain number: kernel memory is read through bpf_probe_read_kernel \
         or BPF_CORE_READ, and a pointer that was given back (submitted, released) is none any more",
    ),
    (
        &["R0 !read_ok"],
        "return a value on every way to the end of the program",
    ),
    (
        &["!read_ok"],
        "give the variable a value on every way that leads there; calls leave nothing in r1 to r5",
    ),
    (
        &["invalid access to packet"],
        "compare the pointer plus the number of bytes with data_end right before the access",
    ),
    (
        &["outside of the packet"],
        "compare the pointer plus the number of bytes with data_end right before the access",
    ),
    (
        &["outside of the allowed memory range"],
        "check the index against the size right before the access, in an unsigned variable",
    ),
    (
        &["variable ctx access"],
        "read the context at offsets that are constants",
    ),
    (
        &["invalid access to map value"],
        "check the index against the size right before the access, in an unsigned variable",
    ),
    (
        &["min value is negative"],
        "use an unsigned variable, or check that the value is not below 0",
    ),
    (
        &["unbounded memory access"],
        "check the upper bound of the size or index right before the access (if, or & with a mask)",
    ),
    (
        &["invalid", "read from stack"],
        "give all bytes of the variable a value first, padding included (= {} or memset)",
    ),
    (
        &["reference leak"],
        "give back on every way what was taken (submit or discard, release, delete)",
    ),
    (
        &["Unreleased reference"],
        "give back on every way what was taken (submit or discard, release, delete)",
    ),
    (
        &["combined stack size"],
        "functions that call each other share 512 bytes of stack: keep large variables in a \
         per-CPU array map",
    ),
    (
        &["stack", "too large"],
        "the stack has 512 bytes: keep large variables in a per-CPU array map",
    ),
    (
        &["invalid write to stack"],
        "the stack has 512 bytes below r10: keep large variables in a per-CPU array map",
    ),
    (
        &["invalid stack"],
        "the stack has 512 bytes below r10: keep large variables in a per-CPU array map",
    ),
    (
        &["program is too large"],
        "let loops run through bpf_loop or bpf_for, make functions global so that they are \
         checked once, or split the work by tail calls",
    ),
    (
        &["infinite loop detected"],
        "let the loop count to a bound that the verifier sees",
    ),
    (
        &["back-edge"],
        "unroll the loop, or let it count to a bound (Linux 5.3)",
    ),
    (
        &["GPL", "function"],
        "declare the licence: char LICENSE[] SEC(\"license\") = \"GPL\";",
    ),
    (
        &["GPL compatible license"],
        "declare the licence: char LICENSE[] SEC(\"license\") = \"GPL\";",
    ),
    (
        &["cannot use helper"],
        "call it in a program of another type (another section name), or do without",
    ),
    (
        &["unknown func"],
        "this kernel does not have the helper, or not for this type of program",
    ),
    (
        &["invalid func"],
        "this kernel does not have the helper, or not for this type of program",
    ),
    (
        &["At program exit the register R0"],
        "return one of the values that programs of this type may return",
    ),
    (
        &["invalid bpf_context access"],
        "the context has no field of that size there for this type of program: is the section's \
         name right?",
    ),
    (
        &["modified ctx ptr"],
        "read the context through constant offsets from the pointer that the program was given",
    ),
    (
        &["pointer arithmetic", "prohibited"],
        "check the pointer for NULL before calculating with it, and add to it alone",
    ),
    (
        &["write into map forbidden"],
        "the map or section is read-only: take a variable that is not const",
    ),
    (
        &["cannot write into"],
        "the memory is read-only: write to a copy of it",
    ),
    (
        &["only read is supported"],
        "kernel objects are read-only: change them through helpers",
    ),
    (
        &["function calls are not allowed while holding a lock"],
        "between bpf_spin_lock and bpf_spin_unlock do not call anything",
    ),
    (
        &["bpf_spin_lock"],
        "take and give back one lock at a time, on every way, in a program type that may",
    ),
    (
        &["call stack", "too deep"],
        "functions may call each other 8 deep: inline some of them",
    ),
    (
        &["invalid args into func"],
        "pass a global function what its declaration says: a context, or a pointer whose size it \
         can check",
    ),
    (
        &["unreachable insn"],
        "take away the code that nothing leads to",
    ),
    (
        &["last insn is not an exit"],
        "end every function by returning, not by running off its end",
    ),
    (&["jump out of range"], "jump within the program"),
    (
        &[" type=", " expected="],
        "the argument must be a pointer of the kind after expected=: to the stack (fp), to a map \
         (map_ptr), into a map's value, to the context",
    ),
    (
        &["unbounded min value"],
        "check the number against a bound before adding it to the pointer",
    ),
    (
        &["misaligned"],
        "read at a multiple of the size, or byte by byte",
    ),
    (
        &["failed to find the address for kernel symbol"],
        "the kernel keeps no address of it (CONFIG_KALLSYMS_ALL)",
    ),
    (
        &["might sleep", "non-sleepable"],
        "helpers that may sleep, as bpf_copy_from_user, are for sleepable programs: a section that ends in .s \
         (fentry.s, lsm.s, uprobe.s, iter.s), or bpf_probe_read_user, which does not sleep",
    ),
    (
        &["more than one arg with ref_obj_id"],
        "give a helper one pointer that has to be given back (reserved, acquired), not two: copy what the \
         other points to onto the stack first",
    ),
    (&["div by zero"], "divide by something that is not 0"),
];

impl VerifierLog {
    /// Gives the usual way out of what the telling line says; none for a line that is not known.
    pub fn advice(&self) -> Option<&'static str> {
        let has_all = |words: &[&str]| words.iter().all(|word| has(&self.telling_line, word));
        let found = ADVICE.iter().find(|(words, _)| has_all(words));
        found.map(|(_, advice)| *advice)
    }
}
