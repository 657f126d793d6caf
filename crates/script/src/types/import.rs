//! `import "…";`: files whose text the caller has put behind the script's, and bpftrace's library.

use super::Checker;
use crate::diagnostic::Diagnostic;
use crate::syntax::tree::Name;

/// Parts of bpftrace's library; what they hold is built in and needs no import.
const LIBRARY: &[&str] = &[
    "stdlib",
    "stdlib/base.bt",
    "stdlib/internal.bt",
    "stdlib/kfunc.bt",
    "stdlib/map",
    "stdlib/meta.bt",
    "stdlib/process",
    "stdlib/process.bt",
    "stdlib/stack",
    "stdlib/strings",
    "stdlib/strings.bt",
    "stdlib/system",
    "stdlib/task",
    "stdlib/usdt",
];

/// Says whether a name is that of a part of bpftrace's library, which is built in.
#[must_use]
pub fn is_library(name: &str) -> bool {
    LIBRARY.contains(&name.trim_end_matches('/'))
}

impl Checker<'_> {
    /// Refuses imports that nobody has looked up.
    pub(super) fn check_imports(&mut self) {
        let script = self.script;
        for Name { text, span } in &script.imports {
            if is_library(text) || self.inputs.imported.contains(text) {
                continue;
            }
            let message = format!("nothing is known of the import \"{text}\"");
            let error = Diagnostic::error("unknown-import", *span, message);
            self.report(error.hint(
                "imports are .bt and .h files beside a script that is in a file, and \"stdlib\"",
            ));
        }
    }
}
