//! The whole way from source text to Spec and Plan.

use kscope_spec::{
    Extern, ExternKind, FuncInfo, LineInfo, MapId, MapKind, MapSpec, ProgramSpec, RelocKind,
    SourceFile, SourceText, Spec,
};

use crate::bpf::{self, Code, Emit, Scratch};
use crate::diagnostic::{Diagnostic, Span, has_errors};
use crate::hir::Program;
use crate::ir;
use crate::lower::{self, Lowered, LoweredProgram};
use crate::plan::Plan;
use crate::portable;
use crate::syntax::tree::Script;
use crate::syntax::{self, Positional};
use crate::types::{self, Inputs};

/// How code is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether the passes over the IR run.
    pub optimize: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { optimize: true }
    }
}

/// A script compiled: what to load, and how to read what comes back.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Programs and maps.
    pub spec: Spec,
    /// What is not eBPF.
    pub plan: Plan,
}

/// What compiling gave.
#[derive(Debug)]
pub struct Compilation {
    /// The result, where there is no error.
    pub compiled: Option<Compiled>,
    /// Findings in the order of the source, warnings included.
    pub diagnostics: Vec<Diagnostic>,
}

/// The stages of a compilation, for those who look at them.
#[derive(Debug)]
pub struct Stages {
    /// The tree.
    pub script: Script,
    /// The checked program.
    pub program: Program,
    /// The functions, after the passes where those were asked for.
    pub functions: Vec<ir::Function>,
}

/// Compiles a script. The same inputs give the same result on every machine.
#[must_use]
pub fn compile(name: &str, source: &str, inputs: &Inputs<'_>, options: Options) -> Compilation {
    let (_, compilation) = compile_stages(name, source, inputs, options);
    compilation
}

/// Compiles a script and keeps what each stage gave.
#[must_use]
pub fn compile_stages(
    name: &str,
    source: &str,
    inputs: &Inputs<'_>,
    options: Options,
) -> (Stages, Compilation) {
    let (script, program, mut diagnostics) = checked(source, inputs);
    let mut stages = Stages {
        script,
        program,
        functions: Vec::new(),
    };
    let compiled = if has_errors(&diagnostics) {
        None
    } else {
        match generate((name, source), inputs, &mut stages, options) {
            Ok(compiled) => Some(compiled),
            Err(findings) => {
                diagnostics.extend(findings);
                None
            }
        }
    };
    diagnostics.sort_by_key(|d| d.span);
    (
        stages,
        Compilation {
            compiled,
            diagnostics,
        },
    )
}

/// Parses a script and checks it; findings are in the order of the stages.
pub(crate) fn checked(source: &str, inputs: &Inputs<'_>) -> (Script, Program, Vec<Diagnostic>) {
    let positional = Positional::new(inputs.positional.clone());
    let (mut script, mut diagnostics) =
        syntax::parse_with_imports(source, &positional, inputs.imported_from);
    if let Some(from) = inputs.imported_from {
        // What a script stands on begins and ends before it.
        script.probes.sort_by_key(|probe| probe.span.start < from);
    }
    let (program, findings) = types::check(&script, inputs);
    diagnostics.extend(findings);
    (script, program, diagnostics)
}

fn generate(
    (name, source): (&str, &str),
    inputs: &Inputs<'_>,
    stages: &mut Stages,
    options: Options,
) -> Result<Compiled, Vec<Diagnostic>> {
    let mut lowered = lower::lower(&stages.program)?;
    let late_map = (inputs.portable && !lowered.late.is_empty()).then(|| {
        let map = portable::late_map(&lowered.late, &lowered.plan);
        lowered.maps.push(map);
        MapId(lowered.maps.len() as u32 - 1)
    });
    let scratch_map = MapId(lowered.maps.len() as u32);
    let mut scratch = ScratchNeed::default();
    let lines = LineTable::new(source);
    let mut programs = Vec::with_capacity(lowered.programs.len());
    let mut layouts = Vec::with_capacity(lowered.programs.len());
    let mut findings = Vec::new();
    for program in &mut lowered.programs {
        if options.optimize {
            ir::optimize(&mut program.function);
        }
        if let Err(finding) = verified(&program.function, program.span) {
            findings.push(finding);
            continue;
        }
        let request = Emit {
            scratch: Some(Scratch {
                map: scratch_map,
                entry: scratch.programs,
            }),
            late: late_map,
            scratch_start: 0,
        };
        match bpf::emit(&program.function, &request) {
            Ok(code) if maps_of(&code) > MAPS_OF_PROGRAM => {
                findings.push(too_many_maps(maps_of(&code), program.span));
            }
            Ok(mut code) => {
                scratch.add(code.scratch_size);
                layouts.push(std::mem::take(&mut code.layouts));
                programs.push(program_spec(program, code, &lines));
            }
            Err(error) => findings.push(
                Diagnostic::error("too-large", program.span, error.to_string())
                    .hint(less_at_once(&error)),
            ),
        }
        stages.functions.push(program.function.clone());
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    let Lowered {
        mut maps,
        late,
        plan,
        ..
    } = lowered;
    if let Some(spec) = scratch.map_spec() {
        maps.push(spec);
    }
    let file = SourceFile {
        name: name.to_owned(),
        text: SourceText::Whole(source.to_owned()),
    };
    let called = programs.iter().flat_map(|program| &program.relocs);
    let calls = called.filter(|reloc| matches!(reloc.kind, RelocKind::Extern(_)));
    let externs = if calls.count() > 0 {
        kernel_functions()
    } else {
        Vec::new()
    };
    let mut spec = Spec {
        externs,
        maps,
        programs,
        late,
        files: vec![file],
        license: "GPL".to_owned(),
        ..Spec::default()
    };
    if inputs.portable {
        portable::complete(
            &mut spec,
            &plan,
            inputs.btf,
            &stages.program.layouts,
            &layouts,
            &stages.program.probes,
        );
    }
    Ok(Compiled { spec, plan })
}

/// Gives the functions of the kernel that code may call.
fn kernel_functions() -> Vec<Extern> {
    let function = |name: &&str| Extern {
        name: (*name).to_owned(),
        weak: false,
        kind: ExternKind::Function { type_id: 0 },
    };
    ir::kfunc::NAMES.iter().map(function).collect()
}

/// Most maps that the kernel lets a program refer to (`MAX_USED_MAPS`).
const MAPS_OF_PROGRAM: usize = 64;

/// Gives how many maps the code refers to.
fn maps_of(code: &Code) -> usize {
    let maps = code.relocs.iter().filter_map(|reloc| match reloc.kind {
        RelocKind::Map(map) | RelocKind::MapValue { map, .. } => Some(map),
        _ => None,
    });
    maps.collect::<std::collections::HashSet<_>>().len()
}

/// Gives the way out where code cannot be emitted.
fn less_at_once(error: &bpf::EmitError) -> &'static str {
    match error {
        bpf::EmitError::TooLong { .. } => {
            "use loops in place of unroll, or split the probe: several blocks may have the same probe"
        }
        bpf::EmitError::Frame { room, .. } if *room < bpf::FRAME_SIZE => {
            "put what inner loops do into one loop, or into other probes"
        }
        _ => {
            "split the probe (several blocks may have the same probe), give str() a length, or lower \
             max_strlen in the config block"
        }
    }
}

fn too_many_maps(count: usize, span: Span) -> Diagnostic {
    let message = format!(
        "the probe uses {count} maps, those of kscope's own included; the kernel lets a program use \
         {MAPS_OF_PROGRAM}"
    );
    Diagnostic::error("too-many-maps", span, message).hint(
        "use one map with a key in the place of several (`@total[\"reads\"]`, `@total[\"writes\"]`), or \
         split the probe: several blocks may have the same probe",
    )
}

/// Checks what lowering made.
pub(crate) fn verified(function: &ir::Function, span: Span) -> Result<(), Diagnostic> {
    ir::verify(function).map_err(|broken| {
        let first = broken.first().map(ToString::to_string).unwrap_or_default();
        let message = format!("internal error in the code of this probe: {first}");
        let hint = "this is a fault of kscope, not of the script: please report it";
        Diagnostic::error("internal", span, message).hint(hint)
    })
}

/// What the programs need of the per-CPU scratch map: an entry each.
#[derive(Debug, Default)]
struct ScratchNeed {
    programs: u32,
    bytes: u32,
}

impl ScratchNeed {
    fn add(&mut self, bytes: u32) {
        if bytes > 0 {
            self.programs += 1;
            self.bytes = self.bytes.max(bytes);
        }
    }

    fn map_spec(&self) -> Option<MapSpec> {
        (self.bytes > 0).then(|| MapSpec {
            name: "scratch".to_owned(),
            kind: MapKind::PerCpuArray,
            key_size: 4,
            value_size: self.bytes.next_multiple_of(8),
            max_entries: self.programs,
            flags: 0,
            initial: None,
            frozen: false,
            ..MapSpec::default()
        })
    }
}

fn program_spec(program: &LoweredProgram, code: Code, lines: &LineTable) -> ProgramSpec {
    let mut positions: Vec<LineInfo> = Vec::with_capacity(code.lines.len() + 1);
    let main = FuncInfo {
        insn: 0,
        name: program.name.clone(),
        ..FuncInfo::default()
    };
    let callbacks = code.callbacks.iter().cloned().map(|(insn, name)| FuncInfo {
        insn,
        name,
        ..FuncInfo::default()
    });
    let starts: Vec<u32> = code.callbacks.iter().map(|(at, _)| *at).collect();
    let funcs = std::iter::once(main).chain(callbacks).collect();
    for (insn, span) in std::iter::once((0, program.span)).chain(code.lines) {
        let (line, column) = lines.position(span);
        let info = LineInfo {
            insn,
            file: 0,
            line,
            column,
        };
        match positions.last_mut() {
            Some(last) if last.insn == insn => *last = info,
            // The kernel wants the position of the start of each function.
            _ if starts.contains(&insn) => positions.push(info),
            Some(last) if (last.line, last.column) == (line, column) => {}
            _ => positions.push(info),
        }
    }
    ProgramSpec {
        name: program.name.clone(),
        kind: program.kind,
        attach: program.attach.clone(),
        insns: code.insns,
        relocs: code.relocs,
        lines: positions,
        funcs,
        flags: 0,
        ..ProgramSpec::default()
    }
}

/// Where lines start in a source text.
#[derive(Debug)]
pub struct LineTable {
    starts: Vec<u32>,
}

impl LineTable {
    /// Finds the starts of lines.
    #[must_use]
    pub fn new(source: &str) -> Self {
        let after = source.bytes().enumerate().filter(|(_, b)| *b == b'\n');
        let starts = std::iter::once(0)
            .chain(after.map(|(i, _)| i as u32 + 1))
            .collect();
        LineTable { starts }
    }

    /// Gives line and column (in bytes) of the start of a span, both from 1.
    #[must_use]
    pub fn position(&self, span: Span) -> (u32, u32) {
        let line = self.starts.partition_point(|start| *start <= span.start);
        let start = line
            .checked_sub(1)
            .and_then(|l| self.starts.get(l))
            .copied()
            .unwrap_or(0);
        (line as u32, span.start - start + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_code_is_a_finding() {
        let check = |body: &str, expected: Option<&str>| {
            let text = format!("fn probe {{\nb0:\n{body}\n}}\n");
            let function = ir::text::read(&text).expect("it is read");
            let found = verified(&function, Span::new(3, 4)).err();
            assert!(
                found
                    .iter()
                    .all(|f| (f.id, f.span) == ("internal", Span::new(3, 4)))
            );
            let found = found.map(|f| f.message);
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("v0: i64 = const 1\nreturn v0", None);
        check(
            "return v0",
            Some("internal error in the code of this probe: b0: there is no v0"),
        );
    }

    #[test]
    fn positions_count_from_one() {
        let table = LineTable::new("ab\n\ncd");
        let check = |start, expected| assert_eq!(table.position(Span::new(start, start)), expected);
        check(0, (1, 1));
        check(2, (1, 3));
        check(3, (2, 1));
        check(4, (3, 1));
        check(5, (3, 2));
    }
}
