//! `kscope list`

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use kscope_bpf::btf::{Btf, Kind};
use kscope_runtime::{LiveCatalogue, Target};
use kscope_script::catalogue::{Catalogue, Format, Lookup, syscalls};

use crate::error::Failure;

/// List probes, with -v their arguments; `struct NAME`, `union NAME` and `enum NAME` print types
#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// Also print the arguments of probes
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Take the kernel's types from this BTF file
    #[arg(long, value_name = "FILE")]
    pub(crate) btf: Option<PathBuf>,
    /// For example `tracepoint:sched:*`, `kprobe:vfs_*`, `*open*`, `struct file`
    #[arg(value_name = "PATTERN", default_value = "*")]
    pub(crate) pattern: String,
}

/// Runs the command.
pub(crate) fn run(args: &ListArgs) -> Result<u8, Failure> {
    let target = match &args.btf {
        Some(file) => Target::live().with_btf(file),
        None => Target::live(),
    };
    let btf = target.btf().ok();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    if let Some((kind, name)) = type_name(&args.pattern) {
        let Some(btf) = &btf else {
            return Err(Failure::new("the kernel's types cannot be read")
                .hint("`kscope doctor` tells why; a BTF file can be given with --btf"));
        };
        return list_type(btf, kind, name, &mut out);
    }
    let catalogue = LiveCatalogue::new(&target, btf.as_ref());
    let wanted = Wanted::new(&args.pattern);
    let mut lister = Lister {
        btf: btf.as_ref(),
        catalogue: &catalogue,
        verbose: args.verbose,
        out,
        listed: 0,
        trouble: Vec::new(),
    };
    lister.raw_tracepoints(&wanted)?;
    lister.tracepoints(&wanted)?;
    lister.kprobes(&wanted)?;
    lister.out.flush()?;
    for why in &lister.trouble {
        eprintln!("WARNING: not all probes could be listed: {why}");
    }
    if lister.listed == 0 {
        return Err(Failure::new(format!("no probe matches `{}`", args.pattern)));
    }
    Ok(0)
}

fn type_name(pattern: &str) -> Option<(Kind, &str)> {
    let (keyword, name) = pattern.split_once(' ')?;
    let kind = match keyword {
        "struct" => Kind::Struct,
        "union" => Kind::Union,
        "enum" => Kind::Enum,
        _ => return None,
    };
    Some((kind, name.trim()))
}

fn list_type(btf: &Btf, kind: Kind, name: &str, out: &mut dyn Write) -> Result<u8, Failure> {
    let found = btf.find(name, kind).or_else(|| match kind {
        Kind::Enum => btf.find(name, Kind::Enum64),
        _ => None,
    });
    let Some(id) = found else {
        let failure = Failure::new(format!("the kernel has no such type: {name}"));
        let near = btf.near_names(name, kind, 3);
        return Err(match near.is_empty() {
            true => failure,
            false => failure.hint(format!("did you mean {}?", near.join(", "))),
        });
    };
    writeln!(out, "{}", btf.print_c(id).trim_end())?;
    out.flush()?;
    Ok(0)
}

/// What a pattern asks for.
struct Wanted {
    provider: String,
    rest: Vec<String>,
    /// The whole pattern, where it has no colon and so matches any part.
    any: Option<String>,
}

impl Wanted {
    fn new(pattern: &str) -> Wanted {
        let mut parts = pattern.split(':').map(str::to_owned);
        let provider = parts.next().unwrap_or_default();
        let rest: Vec<String> = parts.collect();
        let any = rest.is_empty().then(|| provider.clone());
        Wanted {
            provider,
            rest,
            any,
        }
    }

    /// Gives the patterns of the parts after the type of probe, where that type is asked for.
    fn of(&self, names: &[&str], parts: usize) -> Option<Vec<String>> {
        if let Some(any) = &self.any {
            if names.contains(&any.as_str()) {
                return Some(vec!["*".to_owned(); parts]);
            }
            let mut patterns = vec!["*".to_owned(); parts.saturating_sub(1)];
            patterns.push(any.clone());
            return Some(patterns);
        }
        let matches = |name: &&str| kscope_script::catalogue::matches(&self.provider, name);
        if !names.iter().any(matches) {
            return None;
        }
        let mut patterns = self.rest.clone();
        if patterns.len() < parts {
            patterns.resize(parts, "*".to_owned());
        }
        (patterns.len() == parts).then_some(patterns)
    }
}

struct Lister<'a, W: Write> {
    btf: Option<&'a Btf>,
    catalogue: &'a LiveCatalogue<'a>,
    verbose: bool,
    out: W,
    listed: usize,
    trouble: Vec<String>,
}

impl<W: Write> Lister<'_, W> {
    fn take<T>(&mut self, found: Lookup<Vec<T>>) -> Vec<T> {
        match found {
            Lookup::Found(list) => list,
            Lookup::NotFound => Vec::new(),
            Lookup::Unavailable(why) => {
                self.trouble.push(why);
                Vec::new()
            }
        }
    }

    fn raw_tracepoints(&mut self, wanted: &Wanted) -> Result<(), Failure> {
        let Some(patterns) = wanted.of(&["rawtracepoint", "rt"], 1) else {
            return Ok(());
        };
        let found = self.catalogue.raw_tracepoints(&patterns[0]);
        for event in self.take(found) {
            writeln!(self.out, "rawtracepoint:{event}")?;
            self.listed += 1;
            if self.verbose {
                self.prototype(&format!("btf_trace_{event}"), Kind::Typedef, 1)?;
            }
        }
        Ok(())
    }

    fn tracepoints(&mut self, wanted: &Wanted) -> Result<(), Failure> {
        let Some(patterns) = wanted.of(&["tracepoint", "t"], 2) else {
            return Ok(());
        };
        let found = self.catalogue.tracepoints(&patterns[0], &patterns[1]);
        for name in self.take(found) {
            writeln!(self.out, "tracepoint:{name}")?;
            self.listed += 1;
            if self.verbose {
                if let Lookup::Found(format) = self.catalogue.format(&name.category, &name.event) {
                    self.fields(&format)?;
                }
            }
        }
        if !self.trouble.is_empty() {
            self.known_syscalls(&patterns)?;
        }
        Ok(())
    }

    /// Lists the tracepoints of system calls that are known without tracefs.
    fn known_syscalls(&mut self, patterns: &[String]) -> Result<(), Failure> {
        use kscope_script::catalogue::matches;
        if !matches(&patterns[0], "syscalls") {
            return Ok(());
        }
        for name in syscalls::events(&patterns[1]) {
            writeln!(self.out, "tracepoint:{name}")?;
            self.listed += 1;
        }
        Ok(())
    }

    fn kprobes(&mut self, wanted: &Wanted) -> Result<(), Failure> {
        let Some(patterns) = wanted.of(&["kprobe", "k", "kretprobe", "kr"], 1) else {
            return Ok(());
        };
        let found = self.catalogue.functions(&patterns[0]);
        let kretprobe =
            wanted.any.is_none() && ["kretprobe", "kr"].contains(&wanted.provider.as_str());
        let kind = if kretprobe { "kretprobe" } else { "kprobe" };
        for function in self.take(found) {
            writeln!(self.out, "{kind}:{function}")?;
            self.listed += 1;
            if self.verbose {
                self.prototype(&function, Kind::Func, 0)?;
            }
        }
        Ok(())
    }

    fn fields(&mut self, format: &Format) -> Result<(), Failure> {
        for field in format
            .fields
            .iter()
            .filter(|field| !field.name.starts_with("common_"))
        {
            writeln!(self.out, "    {} {}", field.ty, field.name)?;
        }
        Ok(())
    }

    /// Prints the parameters of a function type but for the first `skip`.
    fn prototype(&mut self, name: &str, kind: Kind, skip: usize) -> Result<(), Failure> {
        let Some(btf) = self.btf else { return Ok(()) };
        let Some(id) = btf.find(name, kind) else {
            return Ok(());
        };
        let id = match kind {
            Kind::Typedef => btf.pointee(id).unwrap_or(id),
            _ => id,
        };
        let Some(prototype) = btf.prototype(id) else {
            return Ok(());
        };
        for param in prototype.params().skip(skip) {
            writeln!(
                self.out,
                "    {}",
                btf.declaration(param.type_id, param.name)
            )?;
        }
        Ok(())
    }
}
