//! Probes of programs and libraries: how they are written, and what they stand for.

use super::Checker;
use super::provider::Target;
use crate::catalogue::{Absent, Language, UsdtProbe, UserFunction, is_pattern};
use crate::plan::{Attach, MissingProbes};
use crate::syntax::tree;

/// Where a uprobe is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UserTarget {
    /// Path, library or program as written.
    pub(super) path: String,
    /// The language whose names are meant, where one is written: `cpp`, `rust`.
    pub(super) language: Option<Language>,
    /// The function; empty for an address.
    pub(super) function: String,
    /// Offset in bytes into it, or the address.
    pub(super) offset: u64,
}

impl UserTarget {
    /// Says whether it may stand for several functions.
    pub(super) fn is_pattern(&self) -> bool {
        is_pattern(&self.path) || is_pattern(&self.function) || self.language.is_some()
    }

    /// Gives it as an attach point, patterns in the place of names.
    pub(super) fn attach(&self, on_return: bool) -> Attach {
        let (path, function) = (self.path.clone(), self.function.clone());
        match on_return {
            true => Attach::Uretprobe { path, function },
            false => Attach::Uprobe {
                path,
                function,
                offset: self.offset,
            },
        }
    }
}

/// Reads what follows `uprobe:` or `uretprobe:`.
pub(super) fn uprobe(provider: &str, parts: &[&str]) -> Result<Target, String> {
    let form = || {
        format!(
            "{provider} probes are written {provider}:path:function, \
             {provider}:library:function or {provider}:path:cpp:function"
        )
    };
    let (path, language, function) = match parts {
        [path, function] => (*path, None, *function),
        [path, language, function] => match Language::named(language) {
            Some(language) => (*path, Some(language), *function),
            // A name of C++ that is not in quotes: `ns::f` comes as three parts.
            None => {
                return Err(format!(
                    "{}; `{language}` is no language known here",
                    form()
                ));
            }
        },
        _ => return Err(form()),
    };
    if path.is_empty() || function.is_empty() {
        return Err(form());
    }
    let on_return = provider == "uretprobe";
    let (function, offset) = if function.starts_with(|c: char| c.is_ascii_digit()) {
        // `PROGRAM@FILE.c:LINE`, as bpftrace has it.
        let source = path.rsplit_once('@').map_or("", |(_, file)| file);
        if source.contains('.') {
            return Err(
                "source lines are not looked up: give a function, or an address of the program"
                    .to_owned(),
            );
        }
        let address = number(function)?;
        (String::new(), address)
    } else {
        match function.rsplit_once('+').filter(|_| language.is_none()) {
            Some((name, offset)) if !name.is_empty() => (name.trim().to_owned(), number(offset)?),
            _ => (function.trim().to_owned(), 0),
        }
    };
    if on_return && (offset != 0 || function.is_empty()) {
        return Err("uretprobes are for functions, and can not have an offset".to_owned());
    }
    if offset != 0 && is_pattern(&function) {
        return Err("an offset can not be given to several functions".to_owned());
    }
    let target = UserTarget {
        path: path.to_owned(),
        language,
        function,
        offset,
    };
    Ok(Target::User { target, on_return })
}

fn number(text: &str) -> Result<u64, String> {
    let number = super::expr::parse_number(text.trim());
    let number = number.and_then(|n| u64::try_from(n).ok());
    number.ok_or_else(|| format!("'{text}' is no offset"))
}

/// Reads what follows `usdt:`.
pub(super) fn usdt(parts: &[&str]) -> Result<Target, String> {
    let (path, provider, name) = match parts {
        [path, name] => (*path, "*", *name),
        [path, provider, name] => (*path, *provider, *name),
        _ => return Err("usdt probes are written usdt:path:provider:name".to_owned()),
    };
    if name.is_empty() {
        return Err("usdt probes are written usdt:path:provider:name".to_owned());
    }
    let or_any = |part: &str| match part {
        "" => "*".to_owned(),
        part => part.to_owned(),
    };
    Ok(Target::Usdt {
        path: or_any(path),
        provider: or_any(provider),
        name: name.to_owned(),
    })
}

/// An attach point with the name that the builtin `probe` gives it.
pub(super) struct Found<T> {
    pub(super) name: String,
    pub(super) attach: Attach,
    pub(super) more: T,
}

impl Checker<'_> {
    /// Looks the functions of a uprobe up.
    pub(super) fn uprobes(
        &mut self,
        target: &UserTarget,
        on_return: bool,
        point: &tree::AttachPoint,
    ) -> Vec<Found<()>> {
        let UserTarget {
            path,
            language,
            function,
            offset,
        } = target;
        let any = is_pattern(path) || is_pattern(function);
        let found = if self.inputs.portable && !any && language.is_none() {
            // What it is there is looked up where it runs.
            vec![UserFunction {
                path: path.clone(),
                symbol: function.clone(),
                shown: function.clone(),
            }]
        } else {
            let catalogue = self.inputs.catalogue;
            match catalogue.user_functions(path, *language, function) {
                Ok(found) => found,
                Err(mut absent) => {
                    if let Absent::Missing { near, .. } = &mut absent {
                        let is_told = self.config.missing_probes != MissingProbes::Ignore;
                        if is_told && near.is_empty() && !any {
                            *near = catalogue.near_user_functions(path, *language, function);
                        }
                    }
                    let known = self.absent(absent, point);
                    match known {
                        true => Vec::new(),
                        false => vec![UserFunction {
                            path: path.clone(),
                            symbol: function.clone(),
                            shown: function.clone(),
                        }],
                    }
                }
            }
        };
        let word = if on_return { "uretprobe" } else { "uprobe" };
        let lang = language.map_or(String::new(), |language| format!("{}:", language.name()));
        let point = |found: UserFunction| {
            let UserFunction {
                path,
                symbol,
                shown,
            } = found;
            let place = match (shown.as_str(), *offset) {
                ("", address) => address.to_string(),
                (function, 0) => function.to_owned(),
                (function, offset) => format!("{function}+{offset}"),
            };
            let name = format!("{word}:{path}:{lang}{place}");
            let attach = match on_return {
                true => Attach::Uretprobe {
                    path,
                    function: symbol,
                },
                false => Attach::Uprobe {
                    path,
                    function: symbol,
                    offset: *offset,
                },
            };
            Found {
                name,
                attach,
                more: (),
            }
        };
        found.into_iter().map(point).collect()
    }

    /// Looks the places of a USDT probe up.
    pub(super) fn usdt_probes(
        &mut self,
        path: &str,
        provider: &str,
        name: &str,
        point: &tree::AttachPoint,
    ) -> Vec<Found<UsdtProbe>> {
        let found = match self.inputs.catalogue.usdt(path, provider, name) {
            Ok(found) => found,
            Err(absent) => {
                self.absent(absent, point);
                Vec::new()
            }
        };
        let point = |found: UsdtProbe| Found {
            name: format!("usdt:{}:{}:{}", found.path, found.provider, found.name),
            attach: Attach::Usdt {
                path: found.path.clone(),
                provider: found.provider.clone(),
                name: found.name.clone(),
                index: found.index,
            },
            more: found,
        };
        found.into_iter().map(point).collect()
    }

    /// Reports what is not there; false where nobody can say.
    fn absent(&mut self, absent: Absent, point: &tree::AttachPoint) -> bool {
        match absent {
            Absent::Missing { why, near } => {
                self.missing_place(point, why, &near);
                true
            }
            Absent::Unavailable(why) => {
                self.unchecked(point, &why);
                false
            }
        }
    }
}
