//! What a kernel tells of itself as text.

use kscope_bpf::build_option;
use kscope_bpf::spec::ConfigType;
use kscope_memory::{KernelSymbols, KernelSymbolsBuilder, VirtAddr};

/// Reads the log of a kernel for its tasks: each has its own number, and is in one group.
pub fn log(bytes: &[u8]) -> bool {
    let log = kscope_rows::read_log(&String::from_utf8_lossy(bytes));
    let groups = kscope_rows::group_tasks(&log.tasks);
    let grouped: usize = groups.iter().map(|group| group.tasks.len()).sum();
    assert_eq!(grouped, log.tasks.len());
    let mut keys: Vec<_> = log.tasks.iter().map(|task| (task.pid, task.cpu)).collect();
    keys.sort_unstable();
    keys.dedup_by_key(|(pid, cpu)| (*pid, cpu.filter(|_| *pid == Some(0))));
    assert_eq!(keys.len(), log.tasks.len());
    !log.tasks.is_empty()
}

/// Reads a symbol table whole and in pieces, which gives the same, and looks symbols up.
pub fn kallsyms(bytes: &[u8]) -> bool {
    let whole = KernelSymbols::parse(bytes);
    let middle = bytes.len() / 2;
    let mut builder = KernelSymbolsBuilder::new();
    let pieces = bytes[..middle]
        .chunks(7)
        .chain([&bytes[middle..]])
        .try_for_each(|piece| builder.push(piece));
    let pieces = pieces.and_then(|()| builder.finish());
    let (whole, pieces) = match (whole, pieces) {
        (Ok(whole), Ok(pieces)) => (whole, pieces),
        (Err(whole), Err(pieces)) => {
            assert!(!whole.to_string().is_empty() && !pieces.to_string().is_empty());
            return false;
        }
        (whole, pieces) => panic!("whole {:?}, in pieces {:?}", whole.err(), pieces.err()),
    };
    assert!(whole.iter().eq(pieces.iter()));
    let mut last = 0;
    for symbol in whole.iter() {
        assert!(symbol.address.0 >= last);
        last = symbol.address.0;
        assert!(!symbol.name.is_empty());
        assert!(whole.find(symbol.name).any(|found| found == symbol));
        if let Some(found) = whole.lookup(VirtAddr(last.wrapping_add(1))) {
            assert!(found.symbol.address.0 <= last.wrapping_add(1));
        }
    }
    !whole.is_empty()
}

/// Reads a configuration, packed or not, for variables of every type.
pub fn kconfig(bytes: &[u8]) -> bool {
    let integer = |signed, character| ConfigType::Integer { signed, character };
    let kinds = [
        (ConfigType::Bool, 1),
        (integer(true, true), 1),
        (integer(false, false), 4),
        (integer(true, false), 8),
        (ConfigType::Tristate, 4),
        (ConfigType::Text, 7),
        (ConfigType::Text, 0),
    ];
    let mut far = false;
    for name in ["CONFIG_HZ", "CONFIG_BPF", "CONFIG_NAME", "CONFIG_"] {
        for (kind, size) in kinds {
            match build_option(bytes, name, kind, size) {
                Ok(Some(value)) => {
                    assert_eq!(value.len(), size as usize, "{name} {kind:?}");
                    far = true;
                }
                Ok(None) => {}
                Err(why) => assert!(!why.is_empty()),
            }
        }
    }
    far
}
