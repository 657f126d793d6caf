//! Sections of uprobes and USDT probes.

use std::path::PathBuf;

use super::auto::number;
use super::{Link, Uprobe, UprobePlace, Usdt};
use crate::error::Error;
use crate::executable::{self, Executable};
use crate::loader::Object;
use crate::program::Program;
use crate::search::matches;

impl Object {
    /// Attaches a program to the USDT probe `path:provider:name`.
    pub(super) fn attach_marked_place(
        &self,
        program: &Program,
        target: &str,
    ) -> Result<Link, Error> {
        let (path, provider, name) = usdt_target(program, target)?;
        let path = executable::find(&*program.kernel, path)?;
        let usdt = Usdt {
            path: &path,
            provider,
            name,
            pid: None,
            cookie: 0,
        };
        self.attach_usdt(program, &usdt)
    }
}

impl Program {
    /// Attaches a uprobe to `path:function+offset` or `path:offset`.
    pub(super) fn attach_user_function(
        &self,
        target: &str,
        on_return: bool,
    ) -> Result<Link, Error> {
        let (path, offset) = self.user_function(target)?;
        self.attach_uprobe(&Uprobe {
            on_return,
            ..Uprobe::new(&path, offset)
        })
    }

    /// Finds the file of `path:function+offset` or `path:offset`, and the place in it.
    pub(super) fn user_function(&self, target: &str) -> Result<(PathBuf, u64), Error> {
        let bad = || self.bad_target("uprobe/path:function+offset");
        let (path, place) = target.rsplit_once(':').ok_or_else(bad)?;
        let path = executable::find(&*self.kernel, path)?;
        let (function, offset) = match place.split_once('+') {
            None => (place, Some(0)),
            Some((function, offset)) => (function, number(offset)),
        };
        let offset = offset.ok_or_else(bad)?;
        let start = match number(function) {
            Some(raw) => raw,
            None => {
                let bytes = executable::read(&*self.kernel, &path)?;
                let file = Executable::parse(&bytes)?;
                let found = file.function(function);
                found.ok_or_else(|| {
                    let name = format!("{}:{function}", path.display());
                    Error::not_found_near("function", name, file.near_functions(function))
                })?
            }
        };
        let place = start.checked_add(offset).ok_or_else(bad)?;
        Ok((path, place))
    }

    /// Attaches many uprobes to `path:pattern`.
    pub(super) fn attach_user_functions(
        &self,
        target: &str,
        on_return: bool,
    ) -> Result<Link, Error> {
        let (path, places) = self.user_functions(target)?;
        self.attach_uprobe_multi(&path, &places, on_return, None)
    }

    /// Finds the file of `path:pattern`, and all places that the pattern names.
    pub(super) fn user_functions(
        &self,
        target: &str,
    ) -> Result<(PathBuf, Vec<UprobePlace>), Error> {
        let split = target.rsplit_once(':');
        let (path, pattern) = split.ok_or_else(|| self.bad_target("uprobe.multi/path:pattern"))?;
        let path = executable::find(&*self.kernel, path)?;
        let bytes = executable::read(&*self.kernel, &path)?;
        let file = Executable::parse(&bytes)?;
        let mut offsets: Vec<u64> = file
            .functions()
            .filter(|function| matches(pattern.as_bytes(), function.name))
            .map(|function| function.offset)
            .collect();
        offsets.sort_unstable();
        offsets.dedup();
        if offsets.is_empty() {
            let name = format!("{}:{pattern}", path.display());
            let near = file.near_functions(pattern);
            return Err(Error::not_found_near("function matching", name, near));
        }
        Ok((path, offsets.into_iter().map(UprobePlace::at).collect()))
    }
}

/// Splits `path:provider:name`.
pub(super) fn usdt_target<'t>(
    program: &Program,
    target: &'t str,
) -> Result<(&'t str, &'t str, &'t str), Error> {
    let split = target.rsplit_once(':').and_then(|(rest, name)| {
        rest.rsplit_once(':')
            .map(|(path, provider)| (path, provider, name))
    });
    split.ok_or_else(|| program.bad_target("usdt/path:provider:name"))
}
