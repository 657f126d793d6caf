//! The reader against the running kernel's own BTF, where it has one.

use kscope_btf::{Btf, Kind, Type};

#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a test reads the file, the library does not"
)]
fn running() -> Option<Btf> {
    match std::fs::read("/sys/kernel/btf/vmlinux") {
        Ok(blob) => Some(Btf::parse(blob).expect("the kernel's BTF is sound")),
        Err(error) => {
            eprintln!("skipped: /sys/kernel/btf/vmlinux: {error}");
            None
        }
    }
}

#[test]
fn every_type_is_sound() {
    let Some(btf) = running() else { return };
    btf.validate().unwrap();
    assert!(btf.type_count() > 10_000);
}

#[test]
fn what_every_kernel_has() {
    let Some(btf) = running() else { return };
    let task = btf.find("task_struct", Kind::Struct).unwrap();
    let show = |path: &[&str]| {
        let mut id = task;
        for name in path {
            id = btf.member(id, name).unwrap().type_id;
            id = btf.pointee(id).unwrap_or(id);
        }
        btf.type_name(id)
    };
    assert_eq!(show(&["comm"]), "char[16]");
    assert_eq!(show(&["pid"]), "pid_t");
    assert_eq!(show(&["real_parent", "mm", "pgd"]), "pgd_t");
    // In an anonymous structure of a union.
    let file = btf.find("page", Kind::Struct).unwrap();
    assert!(btf.member(file, "mapping").is_some());

    let switch = btf.find("btf_trace_sched_switch", Kind::Typedef).unwrap();
    let params: Vec<String> = btf
        .prototype(switch)
        .unwrap()
        .params()
        .map(|p| btf.type_name(p.type_id))
        .collect();
    assert_eq!(params[..2], ["void *", "bool"]);
    let open = btf.find("vfs_read", Kind::Func).unwrap();
    assert!(
        btf.print_c(open)
            .starts_with("ssize_t vfs_read(struct file *")
    );
    assert_eq!(
        btf.enumerator("BPF_MAP_TYPE_RINGBUF").map(|e| e.value),
        Some(27)
    );
    assert_eq!(
        btf.near_names("task_strcut", Kind::Struct, 1),
        ["task_struct"]
    );
}

/// Every member of a structure ends inside of it.
#[test]
fn members_lie_inside() {
    let Some(btf) = running() else { return };
    for id in btf.ids() {
        let Some(Type::Struct(c)) = btf.get(id) else {
            continue;
        };
        for m in c.members() {
            let bits = match m.bitfield {
                Some(width) => u64::from(width),
                None => btf.size_of(m.type_id).unwrap() * 8,
            };
            let end = u64::from(m.bit_offset) + bits;
            assert!(end <= u64::from(c.size) * 8, "struct {}.{}", c.name, m.name);
        }
    }
}
