//! Prints probes with their arguments, as `bpftrace -lv` does: type, blank, name.

use std::io::{self, Write};

use kscope_bpf::btf::{Btf, FuncProto, Kind};
use kscope_runtime::LiveCatalogue;
use kscope_script::catalogue::{Catalogue, EventName, Lookup, matches, syscalls};
use kscope_script::plan::Attach;
use kscope_script::types::{event, kernel};

use super::wanted::{Family, Wanted};

/// Lists probes of a kernel.
pub(super) struct Lister<'a, W: Write> {
    btf: Option<&'a Btf>,
    catalogue: &'a LiveCatalogue<'a>,
    verbose: bool,
    out: W,
    listed: Listed,
}

/// What was listed.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// How many probes.
    pub(super) count: usize,
    /// Why some could not be.
    pub(super) trouble: Vec<String>,
}

/// Functions whose parameters are those of a tracepoint, by the start of their names, with the
/// number of parameters that go before those.
const PROTOTYPES: [(&str, usize); 2] = [("__traceiter_", 1), ("__probestub_", 1)];

/// Probes that need nothing of the kernel, and how the timers count.
const OWN: [&str; 10] = [
    "begin",
    "end",
    "interval:hz:",
    "interval:ms:",
    "interval:s:",
    "interval:us:",
    "profile:hz:",
    "profile:ms:",
    "profile:s:",
    "profile:us:",
];

/// Writes a declaration as C has it: the name inside of arrays and pointers to functions.
fn declaration(ty: &str, name: &str) -> String {
    if let Some((before, after)) = ty.split_once("(*)") {
        return format!("{before}(*{name}){after}");
    }
    match ty.find('[') {
        // No type of C: it says where in the record the array lies.
        Some(_) if ty.contains("_loc ") => format!("{ty} {name}"),
        Some(at) => format!("{} {name}{}", ty[..at].trim_end(), &ty[at..]),
        None => format!("{ty} {name}"),
    }
}

impl<'a, W: Write> Lister<'a, W> {
    pub(super) fn new(
        btf: Option<&'a Btf>,
        catalogue: &'a LiveCatalogue<'a>,
        verbose: bool,
        out: W,
    ) -> Self {
        Lister {
            btf,
            catalogue,
            verbose,
            out,
            listed: Listed::default(),
        }
    }

    /// Hands on what is buffered.
    pub(super) fn finish(mut self) -> io::Result<Listed> {
        self.out.flush()?;
        let mut listed = self.listed;
        listed.trouble.dedup();
        Ok(listed)
    }

    fn take<T>(&mut self, found: Lookup<Vec<T>>) -> Vec<T> {
        match found {
            Lookup::Found(list) => list,
            Lookup::NotFound => Vec::new(),
            Lookup::Unavailable(why) => {
                self.listed.trouble.push(why);
                Vec::new()
            }
        }
    }

    pub(super) fn raw_tracepoints(&mut self, wanted: &Wanted) -> io::Result<()> {
        let Some(patterns) = wanted.of(Family::RawTracepoint) else {
            return Ok(());
        };
        let found = self.catalogue.raw_tracepoints(&patterns[0]);
        for event in self.take(found) {
            self.raw_tracepoint(&event)?;
        }
        Ok(())
    }

    pub(super) fn tracepoints(&mut self, wanted: &Wanted) -> io::Result<()> {
        let Some(patterns) = wanted.of(Family::Tracepoint) else {
            return Ok(());
        };
        let (category, event) = (&patterns[0], &patterns[1]);
        let found = self.catalogue.tracepoints(category, event);
        // Those of system calls are known without tracefs, whether or not this kernel has them.
        let hidden = matches!(found, Lookup::Unavailable(_)) && matches(category, "syscalls");
        let known = hidden.then(|| syscalls::events(event));
        for name in self
            .take(found)
            .into_iter()
            .chain(known.into_iter().flatten())
        {
            self.tracepoint(&name)?;
        }
        Ok(())
    }

    /// Lists the probes that every kernel has.
    pub(super) fn own(&mut self, wanted: &Wanted) -> io::Result<()> {
        for probe in OWN.iter().filter(|probe| wanted.is_own(probe)) {
            self.head(format_args!("{probe}"))?;
        }
        Ok(())
    }

    /// Lists what perf counts, and the kinds of objects that iterators walk over.
    pub(super) fn counters_and_iterators(&mut self, wanted: &Wanted) -> io::Result<()> {
        for (provider, short) in [("software", "s"), ("hardware", "h")] {
            let Some((_, pattern)) = wanted.of_type(&[provider, short]) else {
                continue;
            };
            for name in event::events(provider).filter(|name| matches(&pattern, name)) {
                self.head(format_args!("{provider}:{name}:"))?;
            }
        }
        let (Some((_, pattern)), Some(btf)) = (wanted.of_type(&["iter", "it"]), self.btf) else {
            return Ok(());
        };
        for name in kernel::iterators(btf) {
            if matches(&pattern, &name) {
                self.head(format_args!("iter:{name}"))?;
                // What `ctx` has are the arguments of the iterator's function.
                match self.prototype(&format!("bpf_iter_{name}")) {
                    Some(prototype) if self.verbose => self.parameters(&prototype, 0)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Lists functions with types, unless there is a reason why none can be traced so.
    pub(super) fn typed_functions(
        &mut self,
        wanted: &Wanted,
        refused: impl Fn() -> Option<String>,
    ) -> io::Result<()> {
        // Returns are listed where they are asked for.
        let returns = ["fexit", "fr", "kretfunc"];
        let provider = match returns.contains(&wanted.provider.as_str()) {
            true => "fexit",
            false => "fentry",
        };
        let names = match provider {
            "fexit" => returns,
            _ => ["fentry", "f", "kfunc"],
        };
        let (Some((module, pattern)), Some(btf)) = (wanted.of_type(&names), self.btf) else {
            return Ok(());
        };
        if let Some(why) = refused() {
            if names.contains(&wanted.provider.as_str()) {
                self.listed.trouble.push(why);
            }
            return Ok(());
        }
        let found = self.catalogue.functions_of(&module, &pattern);
        for function in self.take(found) {
            // Those of modules have their types elsewhere.
            if function.contains(':') || btf.find(&function, Kind::Func).is_some() {
                self.typed(provider, &function)?;
            }
        }
        Ok(())
    }

    /// Lists kernel functions, unless there is a reason why none can be traced.
    pub(super) fn functions(&mut self, wanted: &Wanted, refused: Option<&str>) -> io::Result<()> {
        let Some(patterns) = wanted.of(Family::Function) else {
            return Ok(());
        };
        if let Some(why) = refused {
            if wanted.names(Family::Function) {
                self.listed.trouble.push(why.to_owned());
            }
            return Ok(());
        }
        let found = self.catalogue.functions(&patterns[0]);
        let found = self.take(found);
        for function in found {
            match wanted.is_return() {
                true => self.kretprobe(&function)?,
                false => self.kprobe(&function)?,
            }
        }
        Ok(())
    }

    /// Lists what a probe of a script, of the given name, attaches to.
    pub(super) fn attach_point(&mut self, name: &str, point: &Attach) -> io::Result<()> {
        match point {
            Attach::Tracepoint { category, event } => self.tracepoint(&EventName {
                category: category.clone(),
                event: event.clone(),
            }),
            Attach::RawTracepoint { event } => self.raw_tracepoint(event),
            Attach::Kprobe {
                function,
                offset: 0,
            } => self.kprobe(function),
            Attach::Kprobe { function, offset } => {
                self.head(format_args!("kprobe:{function}+{offset}"))
            }
            Attach::Kretprobe { function } => self.kretprobe(function),
            Attach::Uprobe {
                path,
                function,
                offset,
            } => match (function.as_str(), *offset) {
                ("", address) => self.head(format_args!("uprobe:{path}:{address:#x}")),
                (function, 0) => self.head(format_args!("uprobe:{path}:{function}")),
                (function, offset) => self.head(format_args!("uprobe:{path}:{function}+{offset}")),
            },
            Attach::Uretprobe { path, function } => {
                self.head(format_args!("uretprobe:{path}:{function}"))
            }
            Attach::Usdt {
                path,
                provider,
                name,
                ..
            } => self.head(format_args!("usdt:{path}:{provider}:{name}")),
            Attach::FunctionEntry { function } => self.typed("fentry", function),
            Attach::FunctionExit { function } => self.typed("fexit", function),
            Attach::Begin
            | Attach::End
            | Attach::Signal
            | Attach::Interval { .. }
            | Attach::KprobeAddress { .. }
            | Attach::PerfEvent { .. }
            | Attach::Iterator { .. }
            | Attach::Watchpoint { .. }
            | Attach::Test { .. }
            | Attach::Bench { .. }
            | Attach::Profile { .. } => self.head(format_args!("{name}")),
        }
    }

    fn head(&mut self, probe: std::fmt::Arguments<'_>) -> io::Result<()> {
        self.listed.count += 1;
        writeln!(self.out, "{probe}")
    }

    fn tracepoint(&mut self, name: &EventName) -> io::Result<()> {
        self.head(format_args!("tracepoint:{name}"))?;
        if !self.verbose {
            return Ok(());
        }
        let Lookup::Found(format) = self.catalogue.format(&name.category, &name.event) else {
            return Ok(());
        };
        for field in &format.fields {
            if !field.name.starts_with("common_") {
                writeln!(self.out, "    {}", declaration(&field.ty, &field.name))?;
            }
        }
        Ok(())
    }

    fn raw_tracepoint(&mut self, event: &str) -> io::Result<()> {
        // Those that the catalogue knows are the kernel's own, which bpftrace writes with its name.
        self.head(format_args!("rawtracepoint:vmlinux:{event}"))?;
        if !self.verbose {
            return Ok(());
        }
        for (start, skip) in PROTOTYPES {
            if let Some(prototype) = self.prototype(&format!("{start}{event}")) {
                return self.parameters(&prototype, skip);
            }
        }
        Ok(())
    }

    fn kprobe(&mut self, function: &str) -> io::Result<()> {
        self.head(format_args!("kprobe:{function}"))?;
        match self.prototype(function) {
            Some(prototype) if self.verbose => self.parameters(&prototype, 0),
            _ => Ok(()),
        }
    }

    fn kretprobe(&mut self, function: &str) -> io::Result<()> {
        self.head(format_args!("kretprobe:{function}"))?;
        match (self.btf, self.prototype(function)) {
            (Some(btf), Some(prototype)) if self.verbose => {
                let result = btf.type_name(prototype.result);
                match result.as_str() {
                    "void" => Ok(()),
                    result => writeln!(self.out, "    {result} retval"),
                }
            }
            _ => Ok(()),
        }
    }

    /// Lists a probe of a function with types; those of the kernel itself with its name.
    pub(super) fn typed(&mut self, provider: &str, function: &str) -> io::Result<()> {
        let (module, name) = function.split_once(':').unwrap_or(("vmlinux", function));
        self.head(format_args!("{provider}:{module}:{name}"))?;
        let (Some(btf), Some(prototype), true) = (self.btf, self.prototype(name), self.verbose)
        else {
            return Ok(());
        };
        self.parameters(&prototype, 0)?;
        match btf.type_name(prototype.result).as_str() {
            "void" => Ok(()),
            _ if provider == "fentry" => Ok(()),
            result => writeln!(self.out, "    {result} retval"),
        }
    }

    fn prototype(&self, function: &str) -> Option<FuncProto<'a>> {
        let btf = self.btf?;
        btf.prototype(btf.find(function, Kind::Func)?)
    }

    /// Prints the parameters of a function but for the first `skip`.
    fn parameters(&mut self, prototype: &FuncProto<'_>, skip: usize) -> io::Result<()> {
        let Some(btf) = self.btf else { return Ok(()) };
        for param in prototype.params().skip(skip) {
            let ty = btf.type_name(param.type_id);
            writeln!(self.out, "    {}", declaration(&ty, param.name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::declaration;

    #[test]
    fn declarations_are_those_of_c() {
        let check = |ty, expected| assert_eq!(declaration(ty, "x"), expected);
        check("int", "int x");
        check("const char *", "const char * x");
        check("char[16]", "char x[16]");
        check("char [2][3]", "char x[2][3]");
        check("__data_loc char[]", "__data_loc char[] x");
        check("void (*)(int)", "void (*x)(int)");
    }
}
