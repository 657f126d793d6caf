//! Scripts over memory that is made here: what they send and leave, what they are refused, and that
//! they end whatever the memory holds.

#[path = "types/fixture.rs"]
#[allow(dead_code, reason = "the checker's tests use all of it")]
mod fixture;

use std::cell::RefCell;
use std::fmt::Write as _;

use fixture::Setup;
use kscope_memory::{Gap, GapAt, Memory, VirtAddr};
use kscope_rows::{Unresolved, Value, decode, decode_field, decode_map_value};
use kscope_script::compile::Options;
use kscope_script::interpret::{
    Code, Fault, Interpreter, Paths, Reads, Walk, WalkKind, World, compile,
};
use kscope_script::plan::{Attach, SiteKind};
use kscope_script::types::Inputs;

/// Where the memory begins, and how much there is of it.
const START: u64 = 0xffff_8880_0000_0000;
const SIZE: u64 = 4096;

/// A page of kernel memory, behind it one that was left out of the dump.
struct Page(Vec<u8>);

impl Page {
    /// Two threads, at [`START`] and 256 bytes behind; the second one's parent is the first, whose
    /// parent is in the page that is missing.
    fn with_threads() -> Page {
        let mut page = Page(vec![0; SIZE as usize]);
        page.thread(0, 1, b"init", START + SIZE);
        page.thread(256, 42, b"worker", START);
        page
    }

    fn thread(&mut self, at: usize, pid: u32, comm: &[u8], parent: u64) {
        self.0[at + 4..at + 8].copy_from_slice(&pid.to_le_bytes());
        self.0[at + 16..at + 24].copy_from_slice(&parent.to_le_bytes());
        self.0[at + 24..at + 24 + comm.len()].copy_from_slice(comm);
    }
}

impl Memory for Page {
    fn read(&self, addr: VirtAddr, buf: &mut [u8]) -> Result<(), GapAt> {
        let gap = |why| GapAt {
            addr,
            len: buf.len() as u64,
            why,
        };
        let offset = addr.offset_from(VirtAddr(START));
        let offset = offset.ok_or(gap(Gap::Unmapped))? as usize;
        let found = self.0.get(offset..offset.saturating_add(buf.len()));
        let found = found.ok_or(gap(Gap::Excluded))?;
        buf.copy_from_slice(found);
        Ok(())
    }
}

struct Still {
    memory: Page,
    stop: bool,
    /// Why walks may have missed something.
    faults: RefCell<Vec<String>>,
}

impl World for Still {
    fn memory(&self) -> &dyn Memory {
        &self.memory
    }

    fn clock(&self, tai: bool) -> u64 {
        if tai { 2_000 } else { 1_000 }
    }

    fn task_stack(&self, task: VirtAddr) -> Option<Vec<u64>> {
        (task.0 == START).then(|| vec![START + 8, START + 16])
    }

    fn walk(&self, kind: WalkKind, root: VirtAddr) -> Walk {
        let count = match kind {
            WalkKind::Hlist | WalkKind::Rbtree => root.0 - START,
            WalkKind::Xarray | WalkKind::Maple => 1,
        };
        Walk {
            found: (0..count).map(|place| START + 8 * place).collect(),
            fault: (count > 2).then(|| format!("more than {count}")),
        }
    }

    fn fault(&self, fault: String) {
        self.faults.borrow_mut().push(fault);
    }

    fn path(&self, path: VirtAddr) -> Option<Vec<u8>> {
        (path.0 == START).then(|| b"/of/path".to_vec())
    }

    fn dentry_path(&self, dentry: VirtAddr, mount: Option<VirtAddr>) -> Option<Vec<u8>> {
        (dentry.0 == START).then(|| format!("/of/dentry {:?}", mount.is_some()).into_bytes())
    }

    fn stop(&self) -> bool {
        self.stop
    }
}

fn compiled(source: &str) -> Result<Code, String> {
    let setup = Setup::default();
    let mut inputs = Inputs::new(&setup.catalogue);
    inputs.btf = setup.btf.as_ref();
    inputs.interpreted = true;
    let (code, findings) = compile(source, &inputs, Options::default());
    code.ok_or_else(|| {
        let lines = findings.iter().map(|found| {
            let hint = found.hint.as_deref().unwrap_or_default();
            format!("{}: {} ({hint})", found.severity, found.message)
        });
        lines.collect::<Vec<_>>().join("\n")
    })
}

/// What a script gave.
struct Ran {
    text: String,
    reads: Reads,
    paths: Paths,
    fault: Option<Fault>,
}

/// Runs `begin`, then `iter:task` for both threads, then `end`.
fn ran(source: &str, world: &Still) -> Ran {
    let code = compiled(source).unwrap_or_else(|why| panic!("{source}: {why}"));
    let late = vec![7; code.late.len()];
    let mut interpreter = Interpreter::new(&code.functions, &code.maps, late, world);
    interpreter = interpreter.with_most_steps(1 << 20);
    let mut text = String::new();
    let mut fault = None;
    let contexts = [START, START + 256].map(|task| {
        let mut context = vec![0; 16];
        context[8..].copy_from_slice(&task.to_le_bytes());
        context
    });
    let mut runs = vec![(Attach::Begin, Vec::new())];
    let task = Attach::Iterator {
        name: "task".to_owned(),
    };
    runs.extend(contexts.map(|context| (task.clone(), context)));
    runs.push((Attach::End, Vec::new()));
    for (wanted, context) in runs {
        let probes = code.plan.probes.iter();
        for probe in probes.filter(|probe| probe.attach.contains(&wanted)) {
            let done = interpreter.run(probe.program.0 as usize, &context);
            fault = fault.or(done.err());
            while let Some(event) = interpreter.next_event() {
                tell(&code, &event, &mut text);
            }
        }
    }
    maps(&code, &interpreter, &mut text);
    Ran {
        text,
        reads: interpreter.reads(),
        paths: interpreter.paths(),
        fault,
    }
}

/// Writes what an event carries: the values, with blanks between.
fn tell(code: &Code, event: &[u8], text: &mut String) {
    let number = u32::from_le_bytes(*event.first_chunk().expect("a site"));
    let site = &code.plan.sites[number as usize];
    if let SiteKind::RuntimeError { message } = &site.kind {
        let _ = writeln!(text, "failed: {message}");
        return;
    }
    let fields = site.fields.iter();
    let values: Vec<String> = fields
        .map(|field| shown(&decode_field(field, event, &Unresolved)))
        .collect();
    let _ = writeln!(text, "{}", values.join(" "));
}

fn shown(value: &Value) -> String {
    match value {
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Bool(truth) => u8::from(*truth).to_string(),
        Value::Str(text) => String::from_utf8_lossy(text).into_owned(),
        Value::Tuple(parts) => {
            let parts: Vec<String> = parts.iter().map(shown).collect();
            format!("({})", parts.join(", "))
        }
        Value::Stats {
            count,
            total,
            average,
            ..
        } => format!("count {count}, average {average}, total {total}"),
        other => format!("{other:?}"),
    }
}

/// Writes what maps hold, in the order of the plan.
fn maps(code: &Code, interpreter: &Interpreter<'_>, text: &mut String) {
    for plan in &code.plan.maps {
        let Some(key_type) = &plan.key else {
            if let Some(value) = interpreter.value(plan.map, &[]) {
                let size = plan.value_size() as usize;
                let value = shown(&decode_map_value(&plan.value, &value[..size], &Unresolved));
                let _ = writeln!(text, "@{}: {value}", plan.name);
            }
            continue;
        };
        for (key, value) in interpreter.entries(plan.map) {
            let key = shown(&decode(key_type, key, &Unresolved));
            let value = shown(&decode_map_value(&plan.value, value, &Unresolved));
            let _ = writeln!(text, "@{}[{key}]: {value}", plan.name);
        }
    }
}

fn still() -> Still {
    Still {
        memory: Page::with_threads(),
        stop: false,
        faults: RefCell::default(),
    }
}

#[test]
fn scripts_give_what_they_give_in_the_kernel() {
    let check = |source: &str, expected: &str| {
        let ran = ran(source, &still());
        assert_eq!(ran.fault, None, "{source}");
        assert_eq!(ran.text, expected, "{source}");
    };
    check(
        "begin { print(1 + 2); } end { print(\"bye\"); }",
        "3\nbye\n",
    );
    check("begin { printf(\"%d %s\\n\", 7 / 2, \"x\"); }", "3 x\n");
    check(
        "begin { print(-7 / 2); print(-7 % 4); print(1 << 40); }",
        "-3\n-3\n1099511627776\n",
    );
    check(
        "begin { @a = 1; @a = @a + 4; @b[1, \"k\"] = 2; }",
        "@a: 5\n@b[(1, k)]: 2\n",
    );
    check(
        "begin { @[3] = count(); @[3] = count(); @[1] = count(); }",
        "@[1]: 1\n@[3]: 2\n",
    );
    check("begin { @ = sum(5); @ = sum(-7); }", "@: -2\n");
    check(
        "begin { @ = min(5); @ = min(3); @x = max(5); @x = max(9); }",
        "@: 3\n@x: 9\n",
    );
    check(
        "begin { @[1] = 2; delete(@, 1); print(has_key(@, 1)); }",
        "0\n",
    );
    check(
        "begin { @[1] = 2; @[2] = 3; print(len(@)); clear(@); }",
        "2\n\n@[1]: 2\n@[2]: 3\n",
    );
    check(
        "begin { for ($i : 0..4) { if ($i == 2) { continue; } print($i); } }",
        "0\n1\n3\n",
    );
    check(
        "begin { for ($i : 0..9) { if ($i == 2) { break; } @ += $i; } }",
        "@: 1\n",
    );
    check(
        "begin { @[5] = 1; @[6] = 2; for ($kv : @) { print($kv.0 + $kv.1); } }",
        "6\n8\n@[5]: 1\n@[6]: 2\n",
    );
    check(
        "begin { $i = 0; while ($i < 3) { $i++; } print($i); }",
        "3\n",
    );
    check(
        "begin { for ($i : 0..3) { for ($j : 0..3) { @ += $i * $j; } } }",
        "@: 9\n",
    );
    check(
        "begin { print(strlen(\"abc\")); print(\"abc\" == \"abd\"); }",
        "3\n0\n",
    );
    check("begin { print(strcontains(\"abcd\", \"bc\")); }", "1\n");
    check("begin { print(nsecs); print(nsecs(tai)); }", "1000\n2000\n");
    check("begin { $x = 5; print(*&$x); }", "5\n");
    check(
        "iter:task { print(ctx.task.pid); print(ctx.task.comm); }",
        "1\ninit\n42\nworker\n",
    );
    check("iter:task { print(ctx.task.real_parent.pid); }", "0\n1\n");
    check(
        "iter:task /ctx.task.comm == \"worker\"/ { print(1); }",
        "1\n",
    );
    check(
        "iter:task { @[ctx.task.comm] = stats(ctx.task.pid); }",
        "@[init]: count 1, average 1, total 1\n@[worker]: count 1, average 42, total 42\n",
    );
    check(
        "iter:task { print(ctx.task.pid); exit(); }",
        "1\n0\n42\n0\n",
    );
}

/// Runs this in `begin`, with where the memory begins for `START`, and compares what it prints.
fn check_with_start(body: &str, expected: &str) {
    let body = body.replace("START", &format!("{START:#x}"));
    let ran = ran(&format!("begin {{ {body} }}"), &still());
    assert_eq!((ran.fault, ran.text.as_str()), (None, expected), "{body}");
}

#[test]
fn walks_give_what_was_found() {
    let check = check_with_start;
    let links = "print((int64)$t - (int64)START)";
    let walk = |what: &str| format!("for ($t : {what}) {{ {links} }}");
    let threads = "struct task_struct, real_parent";
    check(&walk(&format!("hlist(START + 2, {threads})")), "-16\n-8\n");
    check(&walk(&format!("llist(START + 1, {threads})")), "-16\n");
    check(
        &walk(&format!("rbtree(START + 3, {threads})")),
        "-16\n-8\n0\n",
    );
    check(&walk("xarray(START, struct task_struct)"), "0\n");
    check(
        "for ($t : maple(START, struct task_struct)) { print($t.comm) }",
        "init\n",
    );
    // Below nothing is nothing.
    check(&walk(&format!("rbtree(0, {threads})")), "");
    let body = "for ($a : rbtree(START + 3, struct task_struct, real_parent)) {
        if ((uint64)$a == START - 8) { continue; }
        for ($b : hlist(START + 9, struct task_struct, real_parent)) {
            @n++;
            if ((uint64)$b == START) { break; }
        }
    }";
    check(body, "@n: 6\n");
}

#[test]
fn what_a_break_leaves_of_a_walk_is_given_back() {
    // Each walk finds a million, sixteen million of which may wait at a time.
    let many = START + (1 << 20);
    let check = |body: &str, expected: &str| {
        let world = still();
        let setup = format!("begin {{ {body} }}");
        let code = compiled(&setup).expect("code");
        let mut interpreter = Interpreter::new(&code.functions, &code.maps, Vec::new(), &world);
        assert_eq!(interpreter.run(0, &[]).map(|_| ()), Ok(()), "{body}");
        let mut text = String::new();
        maps(&code, &interpreter, &mut text);
        assert_eq!(text, expected, "{body}");
        // What may be missing behind the break is not missed.
        assert_eq!(*world.faults.borrow(), [""; 0], "{body}");
    };
    let inner =
        format!("for ($t : rbtree({many:#x}, struct task_struct, real_parent)) {{ @n++; break; }}");
    check(&format!("for ($i : 0..17) {{ {inner} }}"), "@n: 17\n");
    check(
        &format!(
            "for ($i : 0..9) {{ for ($a : xarray({START:#x}, struct task_struct)) {{ {inner} {inner} }} }}"
        ),
        "@n: 18\n",
    );
}

#[test]
fn a_walk_that_is_followed_to_its_end_tells_what_it_missed() {
    let check = |links: u64, until: u64, expected: &[&str]| {
        let world = still();
        let root = START + links;
        let ran = ran(
            &format!(
                "begin {{ for ($t : rbtree({root:#x}, struct task_struct, real_parent)) {{
                    @n++; if (@n == {until}) {{ break; }} }} }}"
            ),
            &world,
        );
        assert_eq!(ran.fault, None);
        assert_eq!(*world.faults.borrow(), expected);
    };
    check(2, 0, &[]);
    check(3, 0, &["more than 3"]);
    check(3, 3, &[]);
}

#[test]
fn pointers_that_look_like_those_of_the_interpreter_are_pointers_that_lead_nowhere() {
    // Regions of its own memory, and what is behind them.
    for parent in [0x5c << 56, 0x5c << 56 | 4090, (0x5d << 56) - 1] {
        let mut world = still();
        world.memory.thread(256, 42, b"worker", parent);
        let source = "iter:task /ctx.task.pid == 42/ {
            $parent = ctx.task.real_parent;
            @pid = $parent.pid == 42;
            @up = $parent.real_parent.real_parent.pid;
            @direct = ctx.task.real_parent.pid + ctx.task.real_parent.real_parent.pid;
            print($parent.real_parent.comm);
        }";
        let ran = ran(source, &world);
        assert_eq!(ran.fault, None, "{parent:#x}: {}", ran.text);
        assert!(ran.text.contains("@up: 0\n"), "{parent:#x}: {}", ran.text);
    }
}

#[test]
fn paths_that_are_not_told_are_counted() {
    let check = |body: &str, text: &str, unread: u64, too_long: u64| {
        let paths = Paths { unread, too_long };
        let body = format!("begin {{ {body} }}");
        let ran = ran(&body, &still());
        assert_eq!((&*ran.text, ran.paths), (text, paths), "{body}");
    };
    let path = |of: u64| format!("print(dentry_path((struct dentry *){of:#x}));");
    check(&path(START), "/of/dentry false\n", 0, 0);
    check(&(path(START + 8) + &path(START + 16)), "\n\n", 2, 0);
    // Whoever asks for what is none of the kernel's gets nothing.
    check(&path(0), "\n", 0, 0);
    let short = format!("config = {{ max_strlen = 8 }} begin {{ {} }}", path(START));
    let ran = ran(&short, &still());
    let paths = Paths {
        unread: 0,
        too_long: 1,
    };
    assert_eq!((&*ran.text, ran.paths), ("\n", paths));
}

#[test]
fn searches_have_no_limit_of_a_verifier() {
    let check = |needle: &str, expected: &str| {
        let script = format!(
            "config = {{ max_strlen = 16384 }} begin {{
                $text = (string[16384])\"the quick brown fox jumps over the lazy dog\";
                $wanted = (string[16384])str_concat(\"{needle}\", \"\");
                print(strcontains($text, $wanted)); print(strcontains($wanted, $text)); }}"
        );
        let ran = ran(&script, &still());
        assert_eq!((ran.fault, &*ran.text), (None, expected), "{needle}");
    };
    check("over the lazy", "1\n0\n");
    check("over the lazy cat", "0\n0\n");
    let script =
        "config = { max_strlen = 65536 } begin { $a = str(kptr(1)); print(strcontains($a, $a)); }";
    let why = compiled(script).expect_err("too long");
    assert!(
        why.contains("a search for a string of up to 65536 bytes"),
        "{why}"
    );
}

#[test]
fn symbols_that_end_in_a_number_are_others() {
    let check = |body: &str, values: usize| {
        let code = compiled(&format!("begin {{ {body} }}")).expect("code");
        assert_eq!(code.late.len(), values, "{body}");
    };
    check("print(kaddr(\"a\", 0)); print(kaddr(\"a\", 0));", 1);
    check("print(kaddr(\"a\", 0)); print(kaddr(\"a\"));", 2);
    check("print(kaddr(\"a\", 0)); print(kaddr(\"a.0\"));", 2);
}

#[test]
fn what_memory_tells_of_places() {
    let check = check_with_start;
    let task = "$t = (struct task_struct *)START;";
    check(
        &format!("{task} print((uint64)&$t.real_parent - START)"),
        "16\n",
    );
    check(&format!("{task} print(*&$t.pid)"), "1\n");
    check(
        &format!("{task} $name = &$t.comm; print((uint64)$name - START)"),
        "24\n",
    );
    check("print(field_exists(struct task_struct, pid))", "1\n");
    check(
        "print(field_exists(struct task_struct, real_parent.x))",
        "0\n",
    );
    check("print(field_exists(struct task_struct, nothing))", "0\n");
    check("print(field_exists(struct nothing, pid))", "0\n");
    check(&format!("{task} print(field_exists(*$t, comm))"), "1\n");
    check(
        "if comptime (field_exists(struct nothing, x)) { print(((struct nothing *)0).x) }
         else { print(2) }",
        "2\n",
    );
    check("$s = \"abcdef\"; print((string[4])$s)", "abc\n");
}

/// Makes a list of the threads at these places, linked by their parents: each refers to the next
/// one's parent, the last one to where `end` says.
fn linked(places: &[usize], end: u64) -> Still {
    let mut world = still();
    for (index, at) in places.iter().enumerate() {
        let next = places.get(index + 1);
        let next = next.map_or(end, |next| START + *next as u64 + 16);
        world.memory.thread(*at, index as u32 + 1, b"x", next);
    }
    world
}

#[test]
fn lists_are_walked_to_their_end() {
    let head = START + 16;
    let script = format!(
        "begin {{ for ($t : list({head:#x}, struct task_struct, real_parent)) {{
            if ($t.pid == 3) {{ continue; }} print($t.pid); if ($t.pid == 5) {{ break; }} }} }}"
    );
    let check = |places: &[usize], end: u64, expected: &str| {
        let ran = ran(&script, &linked(places, end));
        assert_eq!((ran.fault, ran.text.as_str()), (None, expected));
    };
    check(&[0], head, "");
    check(&[0, 128], head, "2\n");
    check(&[0, 128, 256, 384], head, "2\n4\n");
    check(&[0, 128, 256, 384, 512, 640], head, "2\n4\n5\n");
    // Its last link is missing, is null.
    check(&[0, 128], START + SIZE, "2\n0\n");
    check(&[0, 128], 0, "2\n");
    // It never comes back to its head: as many elements as it takes to see that.
    let cycle = ran(&script, &linked(&[0, 128, 256, 384], START + 128 + 16));
    assert_eq!(cycle.fault, None);
    assert!(cycle.text.starts_with("2\n4\n2\n"), "{}", cycle.text);
    let told = cycle.text.lines().last().expect("a line");
    let link = START + 256 + 16;
    assert_eq!((told, cycle.text.lines().count()), (&*link.to_string(), 6));
}

#[test]
fn missing_memory_reads_as_zero_and_is_counted() {
    let check = |source: &str, text: &str, failed: u64, astray: u64| {
        let ran = ran(source, &still());
        assert_eq!(ran.text, text, "{source}");
        assert_eq!(ran.reads.of(Gap::Excluded), failed, "{source}");
        assert_eq!(
            (ran.reads.missing(), ran.reads.astray),
            (failed, astray),
            "{source}"
        );
    };
    // The first one's parent is in the page that is missing.
    check(
        "iter:task { print(ctx.task.real_parent.comm); }",
        "\ninit\n",
        1,
        0,
    );
    check("begin { print(*(uint64 *)kptr(0)); }", "0\n", 0, 1);
    check(
        "begin { print(str(kptr(0xffff888000001000))); }",
        "\n",
        1,
        0,
    );
    // Part of it is there.
    check(
        "begin { print(*(uint64 *)kptr(0xffff888000000ffc)); }",
        "0\n",
        1,
        0,
    );
}

#[test]
fn what_memory_does_not_have_is_refused_by_name() {
    let check = |source: &str, expected: &str| match compiled(source) {
        Ok(_) => panic!("{source} compiles"),
        Err(why) => assert!(why.contains(expected), "{source}: {why}"),
    };
    check(
        "begin { for ($t : list(1, struct task_struct)) { } }",
        "list takes 3 arguments (2 provided)",
    );
    check("kprobe:vfs_read { }", "kprobe:vfs_read waits for an event");
    check(
        "tracepoint:sched:sched_switch { print(args.next_pid); }",
        "tracepoint:sched:sched_switch waits for",
    );
    check("interval:s:1 { }", "begin, end, iter:task");
    check("iter:bpf_map { }", "iter:bpf_map is not walked");
    check("iter:tcp { }", "iter:tcp is not walked");
    check(
        "begin { for ($t : xarray(1, struct task_struct, pid)) { } }",
        "xarray takes 2 arguments (3 provided)",
    );
    check(
        "begin { for ($t : rbtree(1, struct task_struct)) { } }",
        "rbtree takes 3 arguments (2 provided)",
    );
    check(
        "begin { $t = (struct task_struct *)0; print(dentry_path($t)); }",
        "a struct dentry *",
    );
    check(
        "begin { print(kaddr(\"x\", 1)); }",
        "0 as its second argument",
    );
    check("begin { $x = 1; print(&ncpus); }", "`&` takes the address");
    check("begin { print(pid); }", "the thread that runs the script");
    check("begin { print(comm); }", "the thread that runs the script");
    check("begin { for ($i : 0..3) { print(uid); } }", "ctx.task.comm");
    check(
        "begin { print(kstack); }",
        "the stack of the thread that runs the script",
    );
    check("begin { print(cpu); }", "the CPU that runs the script");
    check("begin { print(str(uptr(1))); }", "kptr(address)");
    check(
        "begin { print(kstack(1 + 1)); }",
        "a mode, or a struct task_struct *",
    );
    check(
        "begin { system(\"reboot\"); }",
        "system() changes the system, and memory is only read",
    );
}

#[test]
fn whatever_memory_holds_a_program_ends() {
    let endless = "iter:task { $t = ctx.task; while ($t != 0) { $t = $t.real_parent; } }";
    let mut world = still();
    // Each is the other's parent.
    world.memory.thread(0, 1, b"init", START + 256);
    assert_eq!(ran(endless, &world).fault, Some(Fault::Endless));
    world.stop = true;
    assert_eq!(ran(endless, &world).fault, Some(Fault::Stopped));
    let script = "iter:task { print(ctx.task.comm); print(ctx.task.real_parent.real_parent.comm);
        @[str(ctx.task.comm)] = hist(ctx.task.pid); print(buf(ctx.task.comm, ctx.task.pid)); }";
    let mut seed = 1u64;
    for _ in 0..200 {
        let mut memory = Page(vec![0; SIZE as usize]);
        for word in memory.0.chunks_exact_mut(8) {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Many are addresses, of the memory and of the interpreter's own kind.
            let number = match seed >> 62 {
                0 => START + (seed >> 40) % SIZE,
                1 => 0x5c00_0000_0000_0000 | (seed >> 30),
                _ => seed,
            };
            word.copy_from_slice(&number.to_le_bytes());
        }
        let world = Still {
            memory,
            stop: false,
            faults: RefCell::default(),
        };
        assert_eq!(ran(script, &world).fault, None);
    }
}
