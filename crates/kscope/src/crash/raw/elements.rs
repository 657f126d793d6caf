//! Elements of lists and trees, with members of each.

use clap::Args;
use kscope_memory::{ObjectError, VirtAddr, WalkError};
use kscope_rows::Value;

use super::shown::Shown;
use super::types::{Named, Path, not_followed};
use super::value::{self, DEEPEST, Style};
use crate::commands::bpf::listing::{Holds, Listing, number, text};
use crate::crash::analysis::Ask;
use crate::crash::{failed, proceed, tell_fault};
use crate::error::Failure;

/// How elements are printed, and how many.
#[derive(Args, Debug)]
pub(super) struct ElementArgs {
    /// Print these members of each, through pointers as well (`mm.pgd`)
    #[arg(short, long, value_name = "MEMBER", value_delimiter = ',', num_args = 1..)]
    print: Vec<String>,
    /// Go no further than so many
    #[arg(
        short,
        long,
        value_name = "NUMBER",
        default_value = "10000",
        value_parser = clap::value_parser!(u32).range(1..=1_048_576)
    )]
    most: u32,
}

/// An element: its index where it has one, and where it is.
pub(super) enum Element {
    At(VirtAddr),
    Indexed(u64, VirtAddr),
    /// A number in an array, in place of an address.
    Number(u64, u64),
}

impl ElementArgs {
    pub(super) fn most(&self) -> usize {
        self.most as usize
    }

    /// Prints what a walk found, and says why there may be more.
    ///
    /// # Errors
    ///
    /// Where the walk did not come to its first element, or a member does not exist.
    pub(super) fn show(
        &self,
        ask: &Ask<'_>,
        named: &Named,
        elements: &[Element],
        fault: Option<WalkError>,
    ) -> Result<(), Failure> {
        let fault = fault.map(kscope_dump::Error::from);
        if let Some(fault) = fault.as_ref().filter(|_| elements.is_empty()) {
            return Err(failed("cannot go to the first element", fault));
        }
        let paths: Vec<Path> = self
            .print
            .iter()
            .map(|text| Path::parse(text))
            .collect::<Result<_, _>>()?;
        for path in &paths {
            path.walk(&named.btf, named.id)?;
        }
        let indexed = elements.iter().any(|one| !matches!(one, Element::At(_)));
        let mut columns = vec![("address", Holds::Text)];
        if indexed {
            columns.insert(0, ("index", Holds::Number));
            columns.push(("value", Holds::Number));
        }
        columns.extend(paths.iter().map(|path| (&*path.text, Holds::List)));
        if ask.json {
            columns.push(("missing", Holds::List));
        }
        let mut listing = Listing::new("elements", &columns);
        for element in elements {
            proceed(ask.kernel)?;
            let mut values = Vec::new();
            let mut gaps = Vec::new();
            let at = match element {
                Element::At(at) => {
                    values.push(text(at.to_string()));
                    Some(at)
                }
                Element::Indexed(index, at) => {
                    values.extend([number(*index), text(at.to_string()), Value::None]);
                    Some(at)
                }
                Element::Number(index, value) => {
                    values.extend([number(*index), Value::None, number(*value)]);
                    None
                }
            };
            for path in &paths {
                let Some(at) = at else {
                    values.push(Value::None);
                    continue;
                };
                let shown = member(ask, named, *at, path)?;
                shown.gaps(&path.text, &mut gaps);
                values.push(match ask.json {
                    true => shown.json(),
                    false => Value::Text(shown.one_line()),
                });
            }
            if ask.json {
                values.push(Value::Array(gaps.into_iter().map(Value::Text).collect()));
            }
            listing.push(values);
        }
        listing.print(ask.json)?;
        tell_fault("elements", fault.as_ref());
        Ok(())
    }
}

/// Reads a member of an element.
fn member(ask: &Ask<'_>, named: &Named, at: VirtAddr, path: &Path) -> Result<Shown, Failure> {
    let style = Style {
        depth: DEEPEST,
        hex: false,
    };
    match path.follow(&named.btf, named.at(ask.kernel, at)) {
        Ok(found) => Ok(value::read(ask.kernel, &named.btf, &found, style)),
        Err((ObjectError::Gap(gap), _)) => Ok(value::lost_way(gap)),
        Err(error) => Err(not_followed(path, error)),
    }
}
