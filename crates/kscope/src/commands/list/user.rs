//! Functions and USDT probes of programs and libraries.

use std::io::{self, Write};

use kscope_runtime::LiveCatalogue;
use kscope_script::catalogue::{Absent, Catalogue, Language, UsdtProbe};

use crate::error::Failure;

/// A pattern for probes of programs and libraries.
pub(super) struct UserPattern<'a> {
    provider: &'static str,
    parts: Vec<&'a str>,
}

impl<'a> UserPattern<'a> {
    /// Reads a pattern; none where it is for other probes.
    pub(super) fn read(pattern: &'a str) -> Option<UserPattern<'a>> {
        let (kind, rest) = pattern.trim().split_once(':')?;
        let provider = match kind {
            "uprobe" | "u" => "uprobe",
            "uretprobe" | "ur" => "uretprobe",
            "usdt" | "U" => "usdt",
            _ => return None,
        };
        Some(UserPattern {
            provider,
            parts: rest.split(':').collect(),
        })
    }

    /// Lists what matches.
    pub(super) fn list(
        &self,
        catalogue: &LiveCatalogue<'_>,
        verbose: bool,
        out: &mut impl Write,
    ) -> Result<(), Failure> {
        if self.provider == "usdt" {
            let (path, provider, name) = match self.parts.as_slice() {
                [path] => (*path, "*", "*"),
                [path, name] => (*path, "*", *name),
                [path, provider, name] => (*path, *provider, *name),
                _ => return Err(Failure::usage("USDT probes are usdt:path:provider:name")),
            };
            for probe in catalogue.usdt(path, provider, name).map_err(absent)? {
                usdt(&probe, verbose, out)?;
            }
            return Ok(());
        }
        let (path, language, function) = match self.parts.as_slice() {
            [path] => (*path, None, "*"),
            [path, function] => (*path, None, *function),
            [path, language, function] => (*path, Language::named(language), *function),
            _ => return Err(Failure::usage("functions are uprobe:path:function")),
        };
        let found = catalogue.user_functions(path, language, function);
        let word = language.map_or(String::new(), |language| format!("{}:", language.name()));
        for found in found.map_err(absent)? {
            writeln!(
                out,
                "{}:{}:{word}{}",
                self.provider, found.path, found.shown
            )?;
        }
        Ok(())
    }
}

fn absent(absent: Absent) -> Failure {
    match absent {
        Absent::Missing { why, near } if near.is_empty() => Failure::new(why),
        Absent::Missing { why, near } => {
            Failure::new(why).hint(format!("did you mean {}?", near.join(", ")))
        }
        Absent::Unavailable(why) => Failure::new(why),
    }
}

fn usdt(probe: &UsdtProbe, verbose: bool, out: &mut impl Write) -> io::Result<()> {
    let UsdtProbe {
        path,
        provider,
        name,
        ..
    } = probe;
    writeln!(out, "usdt:{path}:{provider}:{name}")?;
    let arguments = probe.arguments.as_deref().unwrap_or_default();
    for (index, argument) in arguments.iter().enumerate().filter(|_| verbose) {
        let sign = if argument.signed { "" } else { "u" };
        let bits = u32::from(argument.bytes) * 8;
        writeln!(out, "    {sign}int{bits} arg{index}")?;
    }
    Ok(())
}
