//! A `Spec` as lines of text, for tests to compare.

use kscope_spec::{
    AttachKind, Extern, ExternKind, MapSpec, Pinning, ProgramSpec, RelocKind, SlotValue,
    SourceText, Spec,
};

/// Gives the lines: what a program or map has stands below it, after two spaces.
pub(crate) fn lines(spec: &Spec) -> Vec<String> {
    let mut out = vec![format!("license {}", spec.license)];
    if spec.version != 0 {
        out.push(format!("version {:#x}", spec.version));
    }
    for map in &spec.maps {
        map_lines(spec, map, &mut out);
    }
    for variable in &spec.variables {
        let map = &spec.maps[variable.map.0 as usize].name;
        let typed = if variable.type_id == 0 {
            " untyped"
        } else {
            ""
        };
        let (name, offset, size) = (&variable.name, variable.offset, variable.size);
        out.push(format!("variable {name} {map}+{offset} size {size}{typed}"));
    }
    out.extend(spec.externs.iter().map(|item| extern_line(spec, item)));
    for program in &spec.programs {
        program_lines(spec, program, &mut out);
    }
    out
}

fn map_lines(spec: &Spec, map: &MapSpec, out: &mut Vec<String>) {
    let (name, kind, section) = (&map.name, map.kind, &map.section);
    let (key, value, entries) = (map.key_size, map.value_size, map.max_entries);
    let mut line = format!("map {name} {section} {kind:?} {key}->{value} *{entries}");
    let mut add = |text: &str, is: bool| {
        if is {
            line.push_str(text);
        }
    };
    add(&format!(" flags {:#x}", map.flags), map.flags != 0);
    add(&format!(" extra {:#x}", map.extra), map.extra != 0);
    add(&format!(" node {}", map.numa_node), map.numa_node != 0);
    add(" pinned", map.pinning == Pinning::ByName);
    add(" key-typed", map.key_type != 0);
    add(" value-typed", map.value_type != 0);
    add(" frozen", map.frozen);
    add(" optional", map.optional);
    out.push(line);
    if let Some(inner) = &map.inner {
        let mut below = Vec::new();
        map_lines(spec, inner, &mut below);
        out.extend(below.iter().map(|line| format!("  inner {line}")));
    }
    if let Some(initial) = &map.initial {
        let shown: Vec<String> = initial
            .iter()
            .take(16)
            .map(|b| format!("{b:02x}"))
            .collect();
        out.push(format!(
            "  initial {} bytes {}",
            initial.len(),
            shown.join("")
        ));
    }
    for slot in &map.slots {
        let value = match slot.value {
            SlotValue::Map(id) => &spec.maps[id.0 as usize].name,
            SlotValue::Program(id) => &spec.programs[id.0 as usize].name,
        };
        out.push(format!("  slot {} {value}", slot.index));
    }
    if let Some(ops) = &map.struct_ops {
        let link = if ops.link { " link" } else { "" };
        let (name, bytes) = (&ops.type_name, ops.data.len());
        out.push(format!("  struct_ops {name} {bytes} bytes{link}"));
        for member in &ops.programs {
            let program = &spec.programs[member.program.0 as usize].name;
            out.push(format!("  member {} {program}", member.name));
        }
    }
    if let Some(why) = &map.refused {
        out.push(format!("  refused: {why}"));
    }
}

fn extern_line(spec: &Spec, item: &Extern) -> String {
    let weak = if item.weak { " weak" } else { "" };
    let kind = match &item.kind {
        ExternKind::Variable { .. } => "variable".to_owned(),
        ExternKind::Address => "address".to_owned(),
        ExternKind::Undefined => "undefined".to_owned(),
        ExternKind::Function { .. } => "function".to_owned(),
        ExternKind::Config {
            map,
            offset,
            size,
            config,
        } => {
            let map = &spec.maps[map.0 as usize].name;
            format!("config {map}+{offset} size {size} {config:?}")
        }
    };
    format!("extern {} {kind}{weak}", item.name)
}

fn program_lines(spec: &Spec, program: &ProgramSpec, out: &mut Vec<String>) {
    let (name, section, kind) = (&program.name, &program.section, program.kind);
    let attach = match &program.attach {
        AttachKind::None => String::new(),
        attach => format!(" {attach:?}"),
    };
    let flags = match program.flags {
        0 => String::new(),
        flags => format!(" flags {flags:#x}"),
    };
    let optional = if program.optional { " optional" } else { "" };
    let slots = program.insns.len();
    out.push(format!(
        "program {name} {section} {kind:?}{attach}{flags}{optional} {slots} slots"
    ));
    for func in &program.funcs {
        let typed = if func.type_id == 0 { "" } else { " typed" };
        out.push(format!("  func {} {}{typed}", func.insn, func.name));
    }
    // Calls inside of the program, as the slot they go to.
    for (at, insn) in program.insns.iter().enumerate() {
        let relocated = program.relocs.iter().any(|reloc| reloc.insn as usize == at);
        if insn.code == 0x85 && insn.src == 1 && !relocated {
            out.push(format!(
                "  call {at} -> {}",
                at as i64 + 1 + i64::from(insn.imm)
            ));
        }
    }
    for reloc in &program.relocs {
        let kind = match &reloc.kind {
            RelocKind::Map(id) => format!("map {}", spec.maps[id.0 as usize].name),
            RelocKind::MapValue { map, offset } => {
                format!("value {}+{offset}", spec.maps[map.0 as usize].name)
            }
            RelocKind::Late(late) => format!("late {}", late.0),
            RelocKind::Func(slot) => format!("func {slot}"),
            RelocKind::Extern(id) => format!("extern {}", spec.externs[id.0 as usize].name),
        };
        out.push(format!("  reloc {} {kind}", reloc.insn));
    }
    for core in &program.core {
        let access: Vec<String> = core.access.iter().map(u32::to_string).collect();
        out.push(format!(
            "  core {} {:?} {}",
            core.insn,
            core.kind,
            access.join(":")
        ));
    }
    for line in &program.lines {
        let file = &spec.files[line.file as usize];
        let text = match &file.text {
            SourceText::Lines(lines) => lines.get(&line.line).map(|text| text.trim()),
            SourceText::Whole(_) => None,
        };
        let place = file.name.rsplit('/').next().unwrap_or_default();
        let text = text.unwrap_or_default();
        out.push(format!(
            "  line {} {place}:{}:{} {text}",
            line.insn, line.line, line.column
        ));
    }
    if let Some(why) = &program.refused {
        out.push(format!("  refused: {why}"));
    }
}
