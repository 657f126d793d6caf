//! `kscope list`

mod lister;
mod user;
mod wanted;

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use kscope_bpf::btf::{Btf, Kind};
use kscope_bpf::{Features, Support};
use kscope_runtime::LiveCatalogue;
use kscope_script::catalogue::{Catalogue, Lookup};
use kscope_script::near::nearest;
use kscope_script::plan::Plan;

use crate::console::tell;
use crate::error::{DOCTOR, Failure};
use crate::place::Place;
use lister::Lister;
use user::UserPattern;
use wanted::{Family, PROVIDERS, Wanted};

/// List probes, with -v their arguments; `struct NAME`, `union NAME` and `enum NAME` print types
#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// Also print the arguments of probes
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Take the kernel's types from this BTF file
    #[arg(long, value_name = "FILE")]
    pub(crate) btf: Option<PathBuf>,
    /// For example `tracepoint:sched:*`, `kprobe:vfs_*,kretprobe:vfs_*`, `*open*`, `struct file`
    #[arg(value_name = "PATTERN", default_value = "*")]
    pub(crate) pattern: String,
}

/// Runs the command.
pub(crate) fn run(args: &ListArgs) -> Result<u8, Failure> {
    let place = Place::open(args.btf.as_deref())?;
    list(&place, &args.pattern, args.verbose)
}

/// Lists what patterns, separated by commas, ask for.
pub(crate) fn list(place: &Place, patterns: &str, verbose: bool) -> Result<u8, Failure> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    if let Some((kind, name)) = type_name(patterns) {
        return list_type(place.types()?, kind, name, out);
    }
    let of_user: Option<Vec<UserPattern<'_>>> =
        patterns.split(',').map(UserPattern::read).collect();
    if let Some(of_user) = of_user {
        let catalogue = LiveCatalogue::new(&place.target, place.btf.as_ref().ok());
        for pattern in of_user {
            pattern.list(&catalogue, verbose, &mut out)?;
        }
        out.flush()?;
        return Ok(0);
    }
    let features = Features::new(place.target.kernel().clone(), place.btf.as_ref().ok());
    let no_kprobes = match features.kprobe() {
        Support::Refused { .. } => None,
        support => refusal("kprobes", &support),
    };
    let wanted: Vec<Wanted> = patterns.split(',').map(Wanted::new).collect();
    let btf = place.btf.as_ref().ok();
    let catalogue = LiveCatalogue::new(&place.target, btf);
    let mut lister = Lister::new(btf, &catalogue, verbose, out);
    for wanted in &wanted {
        lister.own(wanted)?;
        lister.raw_tracepoints(wanted)?;
        lister.tracepoints(wanted)?;
        lister.functions(wanted, no_kprobes.as_deref())?;
        lister.typed_functions(wanted, || refusal("fentry", &features.function_entry()))?;
        lister.counters_and_iterators(wanted)?;
    }
    let listed = lister.finish()?;
    if listed.count > 0 {
        for why in &listed.trouble {
            tell(format_args!("WARNING: not all probes can be listed: {why}"));
        }
        return Ok(0);
    }
    // What keeps them from being looked up is all there is to say.
    if let Some(why) = listed.trouble.first() {
        let failure = Failure::new(format!("`{patterns}` cannot be listed: {why}"));
        return Err(failure.hint(DOCTOR));
    }
    let failure = Failure::new(format!("no probe matches `{patterns}`"));
    let near: Vec<String> = wanted
        .iter()
        .flat_map(|wanted| near_probes(&catalogue, wanted))
        .collect();
    Err(match near.is_empty() {
        true => failure,
        false => failure.hint(format!("did you mean {}?", near.join(", "))),
    })
}

/// Says why the kernel has no probes of a kind; none where it has.
fn refusal(what: &str, support: &Support) -> Option<String> {
    match support {
        Support::Available => None,
        Support::Missing {
            since: Some(since), ..
        } => Some(format!(
            "this kernel has no {what}, which come with {since}"
        )),
        Support::Missing { .. } => Some(format!("this kernel has no {what}")),
        Support::Refused { .. } => Some(format!("this kernel refuses {what}")),
    }
}

/// Lists what the probes of a script attach to.
pub(crate) fn list_script(place: &Place, plan: &Plan, verbose: bool) -> Result<u8, Failure> {
    let btf = place.btf.as_ref().ok();
    let catalogue = LiveCatalogue::new(&place.target, btf);
    let out = BufWriter::new(std::io::stdout().lock());
    let mut lister = Lister::new(btf, &catalogue, verbose, out);
    for probe in &plan.probes {
        for point in &probe.attach {
            lister.attach_point(&probe.name, point)?;
        }
    }
    lister.finish()?;
    Ok(0)
}

/// Gives probes whose names are near a pattern that matches nothing.
fn near_probes(catalogue: &LiveCatalogue<'_>, wanted: &Wanted) -> Vec<String> {
    let found = |list| match list {
        Lookup::Found(list) => list,
        Lookup::NotFound | Lookup::Unavailable(_) => Vec::new(),
    };
    let Some((kind, name)) = wanted.one_probe() else {
        // One that is a type of probe, written as it is, means no other.
        return match wanted.is_known() {
            true => Vec::new(),
            false => nearest(&wanted.provider, PROVIDERS, 1),
        };
    };
    let names: Vec<String> = match kind {
        Family::Tracepoint => match catalogue.tracepoints("*", "*") {
            Lookup::Found(names) => names.iter().map(ToString::to_string).collect(),
            Lookup::NotFound | Lookup::Unavailable(_) => Vec::new(),
        },
        Family::RawTracepoint => found(catalogue.raw_tracepoints("*")),
        Family::Function => found(catalogue.functions("*")),
    };
    let near = nearest(&name, names, 3);
    let provider = &wanted.provider;
    near.iter()
        .map(|name| format!("{provider}:{name}"))
        .collect()
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

fn list_type(btf: &Btf, kind: Kind, name: &str, mut out: impl Write) -> Result<u8, Failure> {
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
