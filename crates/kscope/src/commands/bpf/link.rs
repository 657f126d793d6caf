//! `kscope bpf link`

use clap::{Args, Subcommand};
use kscope_bpf::sys::SharedKernel;
use kscope_bpf::{Link, LinkDetails, LinkKind, PerfDetails};

use super::holders::{Held, Holders};
use super::listing::{Holds, ListArgs, Listing, ShowArgs, number, some, text};
use super::{chosen, opened};
use crate::error::Failure;
use crate::place::Place;

/// List and show links: what is attached where
#[derive(Args, Debug)]
pub(crate) struct LinkArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the links of the kernel
    List(ListArgs),
    /// Show all that is known of a link
    Show {
        #[command(flatten)]
        how: ShowArgs,
        /// Its id
        #[arg(value_name = "ID")]
        link: String,
    },
}

/// Runs the command.
pub(super) fn run(args: &LinkArgs) -> Result<u8, Failure> {
    let place = Place::open(None)?;
    let kernel = place.target.kernel();
    let links = all(kernel)?;
    let holders = Holders::find();
    let mut listing = Listing::new(
        "bpf link",
        &[
            ("id", Holds::Number),
            ("type", Holds::Text),
            ("program", Holds::Number),
            ("target", Holds::Text),
            ("processes", Holds::List),
        ],
    );
    let mut push = |link: &LinkDetails| {
        listing.push(vec![
            number(link.id),
            text(type_name(&link.kind)),
            some(link.program),
            text(link.kind.to_string()),
            holders.of(Held::Link, link.id),
        ]);
    };
    match &args.what {
        What::List(ListArgs { json }) => {
            links.iter().for_each(&mut push);
            listing.print(*json)?;
        }
        What::Show { how, link } => {
            push(&chosen(link, "link", links, |link| link.id, |_, _| false)?);
            listing.print_one(how.json)?;
        }
    }
    Ok(0)
}

/// Describes all links; those that end meanwhile are left out.
fn all(kernel: &SharedKernel) -> Result<Vec<LinkDetails>, Failure> {
    opened(Link::ids(kernel), |id| Link::by_id(kernel, id)?.details())
}

/// Gives the ids of the links that hold a program.
pub(super) fn of_program(kernel: &SharedKernel, program: u32) -> Vec<u32> {
    let links = all(kernel).unwrap_or_default();
    let of = links.iter().filter(|link| link.program == program);
    of.map(|link| link.id).collect()
}

fn type_name(kind: &LinkKind) -> &'static str {
    match kind {
        LinkKind::RawTracepoint { .. } => "raw_tracepoint",
        LinkKind::Tracing { .. } => "tracing",
        LinkKind::Cgroup { .. } => "cgroup",
        LinkKind::Iterator { .. } => "iter",
        LinkKind::Namespace { .. } => "netns",
        LinkKind::Xdp { .. } => "xdp",
        LinkKind::PerfEvent(PerfDetails::Uprobe { .. }) => "uprobe",
        LinkKind::PerfEvent(PerfDetails::Kprobe { .. }) => "kprobe",
        LinkKind::PerfEvent(PerfDetails::Tracepoint { .. }) => "tracepoint",
        LinkKind::PerfEvent(_) => "perf_event",
        LinkKind::KprobeMulti { .. } => "kprobe_multi",
        LinkKind::StructOps { .. } => "struct_ops",
        LinkKind::Netfilter { .. } => "netfilter",
        LinkKind::Tcx { .. } => "tcx",
        LinkKind::UprobeMulti { .. } => "uprobe_multi",
        LinkKind::Netkit { .. } => "netkit",
        LinkKind::SockMap { .. } => "sockmap",
        LinkKind::TracingMulti { .. } => "tracing_multi",
        _ => "unknown",
    }
}
