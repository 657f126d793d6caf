//! The symbol table read from texts written as `/proc/kallsyms` is.

use kscope_memory::{KernelSymbols, KernelSymbolsBuilder, VirtAddr};

const TEXT: &str = "\
0000000000000000 A fixed_percpu_data
0000000000021440 A cpu_info
ffffffff81000000 T startup_64
ffffffff81000000 T _stext
ffffffff81000100 t helper
ffffffff81000200 T vfs_open
ffffffff81000300 t helper
ffffffff82000000 D jiffies
ffffffff83000000 B _end
ffffffffc0002000 t two_exit\t[two]
ffffffffc0002100 T two_open\t[two]
ffffffffc0001000 t one_init\t[one]
ffffffffc0201000 t ftrace_trampoline\t[__builtin__ftrace]
ffffffffc0301000 t bpf_prog_6deef7357e7b4530_sd_devices\t[bpf]
ffffffffc0301000 t bpf_prog_0123456789abcdef\t[bpf]
ffffffffc0001080 T one_read\t[one]
";

/// Writes a found symbol as a stack shows it.
fn show(symbols: &KernelSymbols, address: u64) -> String {
    let Some(found) = symbols.lookup(VirtAddr(address)) else {
        return "-".into();
    };
    let module = found
        .symbol
        .module
        .map(|m| format!(" [{m}]"))
        .unwrap_or_default();
    format!("{}+{:#x}{module}", found.symbol.name, found.offset)
}

#[test]
fn addresses_to_names() {
    fn check(address: u64, expected: &str) {
        assert_eq!(
            show(&KernelSymbols::parse(TEXT.as_bytes()).unwrap(), address),
            expected
        );
    }
    check(0xffffffff81000000, "startup_64+0x0");
    check(0xffffffff810000ff, "startup_64+0xff");
    check(0xffffffff81000100, "helper+0x0");
    check(0xffffffff81000234, "vfs_open+0x34");
    check(0xffffffff82000004, "jiffies+0x4");
    check(0xffffffffc0001000, "one_init+0x0 [one]");
    check(0xffffffffc0001081, "one_read+0x1 [one]");
    check(0xffffffffc0002000, "two_exit+0x0 [two]");
    check(
        0xffffffffc0201010,
        "ftrace_trampoline+0x10 [__builtin__ftrace]",
    );
    check(
        0xffffffffc0301fff,
        "bpf_prog_6deef7357e7b4530_sd_devices+0xfff [bpf]",
    );
    // Between the kernel's end and the first module, before the first symbol, in user space.
    check(0xffffffffa0000000, "-");
    check(0xffffffff80ffffff, "-");
    check(0xffffffffffffffff, "-");
    check(0xffff888000000000, "-");
    check(0x21450, "-");
    check(0, "-");
}

#[test]
fn names_to_addresses() {
    fn check(name: &str, expected: &[u64]) {
        let symbols = KernelSymbols::parse(TEXT.as_bytes()).unwrap();
        let found: Vec<u64> = symbols.addresses(name).into_iter().map(|a| a.0).collect();
        assert_eq!(found, expected, "{name}");
    }
    check("vfs_open", &[0xffffffff81000200]);
    check("helper", &[0xffffffff81000100, 0xffffffff81000300]);
    check("cpu_info", &[0x21440]);
    check("two_open", &[0xffffffffc0002100]);
    check("vfs_ope", &[]);
    check("", &[]);
}

#[test]
fn the_whole_table() {
    let symbols = KernelSymbols::parse(TEXT.as_bytes()).unwrap();
    assert_eq!(symbols.len(), TEXT.lines().count());
    assert!(symbols.iter().is_sorted_by_key(|s| s.address));
    assert_eq!(
        symbols.modules().collect::<Vec<_>>(),
        ["two", "one", "__builtin__ftrace", "bpf"]
    );
    let data: Vec<&str> = symbols
        .iter()
        .filter(|s| !s.is_code())
        .map(|s| s.name)
        .collect();
    assert_eq!(data, ["fixed_percpu_data", "cpu_info", "jiffies", "_end"]);
    assert!(!symbols.is_restricted() && !symbols.is_empty());
}

#[test]
fn hidden_addresses() {
    let text = "0000000000000000 T vfs_open\n0000000000000000 t x\t[m]\n";
    let symbols = KernelSymbols::parse(text.as_bytes()).unwrap();
    assert!(symbols.is_restricted());
    assert_eq!(
        symbols.find("x").map(|s| s.module).collect::<Vec<_>>(),
        [Some("m")]
    );
    assert_eq!(show(&symbols, 0xffffffff81000000), "-");
    assert!(!KernelSymbols::parse(b"").unwrap().is_restricted());
}

#[test]
fn pieces_cut_anywhere_give_the_same() {
    let whole = KernelSymbols::parse(TEXT.as_bytes()).unwrap();
    for size in 1..TEXT.len() {
        let mut builder = KernelSymbolsBuilder::new();
        for piece in TEXT.as_bytes().chunks(size) {
            builder.push(piece).unwrap();
        }
        let pieces = builder.finish().unwrap();
        assert!(pieces.iter().eq(whole.iter()), "pieces of {size}");
    }
    let without_newline = KernelSymbols::parse(TEXT.trim_end().as_bytes()).unwrap();
    assert!(without_newline.iter().eq(whole.iter()));
}

#[test]
fn malformed_lines() {
    fn check(line: &str, what: &str) {
        let text = format!("ffffffff81000000 T ok\n{line}\nffffffff81000000 T ok\n");
        for size in [1, 7, text.len()] {
            let mut builder = KernelSymbolsBuilder::new();
            let pushed = text
                .as_bytes()
                .chunks(size)
                .try_for_each(|p| builder.push(p));
            let error = pushed
                .and_then(|()| builder.finish().map(drop))
                .unwrap_err();
            let expected = format!("malformed symbol table: {what} in the line at byte 22");
            assert_eq!(error.to_string(), expected, "{line}");
        }
    }
    check("", "no address");
    check(" T x", "no address");
    check("xyz T x", "no address");
    check("10000000000000000 T x", "too large an address");
    check("ff T  ", "no name");
    check("ff  x y", "no kind");
    check("ff TT x", "no kind");
    check("ff T ", "no name");
    check("ff ", "no kind");
    check("ff T", "no kind");
    check("ff", "no address");
    check("ff T x y", "no name");
    check("ff T x\r", "no name");
    check("ff T ä", "no name");
    check("ff T x\tmodule", "no module");
    check("ff T x\t[]", "no module");
    check("ff T x\t", "no module");
    check(&format!("ff T {}", "x".repeat(70_000)), "too many bytes");
}

#[test]
fn any_bytes() {
    let mut state = 7u64;
    let mut sound = 0;
    for _ in 0..20_000 {
        let mut text: Vec<u8> = TEXT
            .split_inclusive('\n')
            .skip(8)
            .flat_map(str::bytes)
            .collect();
        for _ in 0..2 {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let at = (state >> 40) as usize % text.len();
            text[at] = (state >> 33) as u8;
        }
        if let Ok(symbols) = KernelSymbols::parse(&text) {
            sound += 1;
            for s in symbols.iter() {
                assert!(symbols.addresses(s.name).contains(&s.address));
                let _ = show(&symbols, s.address.0.wrapping_add(3));
            }
        }
    }
    assert!(sound > 1000, "only {sound} of the texts were read");
}
