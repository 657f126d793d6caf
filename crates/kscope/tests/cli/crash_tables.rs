//! Tables over the kernel's objects, and scripts over memory, on two real dumps: golden files.

use kscope_testkit::dumps::{KDUMP, QEMU, folder};

use super::crash::{golden, path};
use super::kscope;

/// Tables over the kernel's objects.
const TABLES: [&str; 6] = ["irq", "modules", "mounts", "runq", "sockets", "timers"];

#[test]
fn tables_are_what_they_were() {
    let Some(folder) = folder() else {
        return;
    };
    // What others say of this dump is compared in crash_sources.
    golden("mounts.txt", &["crash", &path(&folder, KDUMP), "mounts"]);
    for tool in TABLES {
        let file = format!("live-{tool}.json");
        golden(&file, &[tool, "--json", "--dump", &path(&folder, QEMU)]);
    }
}

#[test]
fn a_table_without_rows_has_its_header() {
    let Some(folder) = folder() else {
        return;
    };
    let kdump = path(&folder, KDUMP);
    let check = |words: &[&str], expected: &str| {
        let words = [words, &["--dump", &kdump]].concat();
        let out = kscope(&words).code(0).out;
        let found: Vec<&str> = out.split_whitespace().collect();
        assert_eq!(found.join(" "), expected, "{words:?}");
        assert_eq!(out.lines().count(), usize::from(!expected.is_empty()));
    };
    let none = ["mounts", "--type", "no such type"];
    check(&none, "ID PARENT MAJOR MINOR TYPE FLAGS SOURCE ROOT PATH");
    check(&[&none[..], &["--json"]].concat(), "");
    check(
        &["files", "--comm", "no such name"],
        "PID FD KIND POS INODE COMM PATH",
    );
    let nobody = ["interfaces", "--pid", "4194304"];
    check(&nobody, "INDEX NAME STATE MTU MAC ADDR PREFIX");
    check(
        &[&nobody[..], &["--counters"]].concat(),
        "INDEX NAME STATE COUNTS RXPKTS RXBYTES RXERRS RXDROP TXPKTS TXBYTES TXERRS TXDROP",
    );
    // What is no tool prints what it prints.
    let script = "begin { if (ncpus == 0) { print((a=1)); } }";
    let words = ["run", "-q", "--dump", &kdump, "-e", script];
    assert_eq!(kscope(&words).code(0).out.trim(), "");
}

#[test]
fn what_a_script_over_memory_can_walk() {
    let Some(folder) = folder() else {
        return;
    };
    let check = |dump: &str, script: &str, expected: &str| {
        let words = ["run", "-q", "--dump", &path(&folder, dump), "-e", script];
        assert_eq!(kscope(&words).code(0).out.trim_end(), expected, "{script}");
    };
    let files = "iter:task_file /ctx.task.pid == 1 && ctx.fd == 10/ {
            printf(\"%s\\n\", path(ctx.file.f_path));
        }";
    check(QEMU, files, "/init");
    let mappings = "iter:task_vma /ctx.task.pid == 1/ {
            @count++;
            @from = @from == 0 ? ctx.vma.vm_start : @from;
            @all = ctx.task.mm.map_count;
        }
        end {
            printf(\"%d %lx\\n\", @count == @all, @from);
            clear(@count); clear(@from); clear(@all);
        }";
    let others = "begin {
            for ($cpu : 0..ncpus) {
                $rq = (struct rq *)percpu_kaddr(\"runqueues\", $cpu);
                printf(\"%d %s\\n\", $rq.cpu, $rq.idle.comm);
            }
            printf(\"%d\\n\", kaddr(\"no_such_symbol\", 0));
        }
        iter:ksym /ctx.ksym.value == kaddr(\"vfs_read\")/ {
            printf(\"%s %c\\n\", str(ctx.ksym.name), ctx.ksym.type);
        }";
    let expected = "0 swapper/0\n1 swapper/1\n0\nvfs_read T\n/init\n1 400000";
    check(KDUMP, &format!("{others}\n{files}\n{mappings}"), expected);
    // Of a module what each CPU has for itself.
    let of_module = "begin {
            $place = percpu_kaddr(\"zs_map_area\", 1);
            for ($m : list(kaddr(\"modules\"), struct module, list)) {
                if (strcontains($m.name, \"zsmalloc\")) {
                    $offset = *(uint64 *)kptr(kaddr(\"__per_cpu_offset\") + 8);
                    print($place - $offset == (uint64)$m.percpu);
                }
            }
        }";
    check(KDUMP, of_module, "true");
    let script = "begin { print(kaddr(\"no_such_symbol\")); }";
    let missing = kscope(&["run", "--dump", &path(&folder, KDUMP), "-e", script]);
    missing.code(1).says(&["no symbol no_such_symbol"]);
}
