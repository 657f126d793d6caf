//! Many kernel functions by one program (kprobe.multi, kprobe.session), and where tracefs lists them.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::os::fd::AsFd;

use kscope_spec::AttachType;
use kscope_sys::{Errno, LinkCreate, LinkTarget};

use super::Link;
use crate::error::Error;
use crate::kallsyms;
use crate::program::Program;
use crate::search::matches;
use crate::tracefs::Tracefs;

/// Name of a function that no kernel has.
const NOWHERE: &CStr = c"kscope_no_such_function";

impl Program {
    /// Attaches a [`kscope_spec::ProgramType::Kprobe`] program, loaded as [`AttachType::TraceKprobeMulti`] or
    /// [`AttachType::TraceKprobeSession`], to many kernel functions at once. `cookies` is empty or
    /// as long as `names`.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a kernel without it, [`Error::NotFound`] if one name is
    /// unknown, [`Error::Invalid`] for no names, [`Error::Os`] with `EINVAL` where one place is no
    /// function's entry that can be probed.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 5.18 with CONFIG_FPROBE; sessions 6.10.
    pub fn attach_kprobe_multi(
        &self,
        names: &[&str],
        on_return: bool,
        cookies: &[u64],
    ) -> Result<Link, Error> {
        let c_names = names.iter().map(|&name| CString::new(name));
        let c_names: Vec<_> = c_names
            .collect::<Result<_, _>>()
            .map_err(|_| Error::invalid("a name with a NUL"))?;
        self.attach_many(&c_names, &[], on_return, cookies)
    }

    /// Attaches as [`Program::attach_kprobe_multi`], to functions by address.
    ///
    /// # Errors
    ///
    /// As [`Program::attach_kprobe_multi`].
    pub fn attach_kprobe_multi_at(
        &self,
        addresses: &[u64],
        on_return: bool,
        cookies: &[u64],
    ) -> Result<Link, Error> {
        self.attach_many(&[], addresses, on_return, cookies)
    }

    /// Attaches as [`Program::attach_kprobe_multi`], to all functions that tracefs lists as
    /// traceable and whose name matches a pattern of `*` and `?`.
    ///
    /// # Errors
    ///
    /// As [`Program::attach_kprobe_multi`]; [`Error::NotFound`] where nothing matches,
    /// [`Error::NotMounted`] without tracefs.
    pub fn attach_kprobe_multi_matching(
        &self,
        pattern: &str,
        on_return: bool,
    ) -> Result<Link, Error> {
        let list = self.traceable_functions().map_err(|error| {
            // Which function is to be probed matters only where many can be.
            match self.attach_many(&[NOWHERE.to_owned()], &[], false, &[]) {
                Err(unsupported @ Error::Unsupported { .. }) => unsupported,
                _ => error,
            }
        })?;
        // A name that several functions have would be refused with all others.
        let names = once(&list, |name, _| matches(pattern.as_bytes(), name));
        if names.is_empty() {
            return Err(Error::not_found("kernel function matching", pattern));
        }
        let names: Vec<_> = names
            .into_iter()
            .filter_map(|name| CString::new(name).ok())
            .collect();
        self.attach_many(&names, &[], on_return, &[])
    }

    /// Reads tracefs' list of the functions that can be traced.
    pub(super) fn traceable_functions(&self) -> Result<Vec<u8>, Error> {
        let tracefs = Tracefs::find_or_mount(&*self.kernel)?;
        let path = tracefs.root().join("available_filter_functions");
        let list = self.kernel.read_file(&path);
        list.map_err(|errno| self.failed("read", errno, &path.display().to_string()))
    }

    fn attach_many(
        &self,
        names: &[CString],
        addresses: &[u64],
        on_return: bool,
        cookies: &[u64],
    ) -> Result<Link, Error> {
        let session = match self.expected() {
            Some(AttachType::TraceKprobeMulti) => false,
            Some(AttachType::TraceKprobeSession) => true,
            _ => return Err(self.wrong_kind("many kprobes")),
        };
        let count = names.len().max(addresses.len());
        if count == 0 {
            return Err(Error::invalid("no function to probe"));
        }
        if !cookies.is_empty() && cookies.len() != count {
            return Err(Error::invalid(
                "there must be one cookie for each function, or none",
            ));
        }
        let target = format!("kprobe_multi of {count} functions");
        let create = |names: &[CString], addresses: &[u64], cookies: &[u64], returns| {
            self.kernel.link_create(LinkCreate {
                program: self.as_fd(),
                attach_type: self.attach.attach_type(),
                target: LinkTarget::KprobeMulti {
                    names,
                    addresses,
                    cookies,
                    returns,
                },
            })
        };
        // A kernel that knows such links looks for the function.
        let knows = || {
            let nowhere = [NOWHERE.to_owned()];
            create(&nowhere, &[], &[], false).err() == Some(Errno::SRCH)
        };
        let fd = create(names, addresses, cookies, on_return).map_err(|errno| match errno {
            Errno::SRCH => match names {
                [one] => Error::not_found("kernel function", one.to_string_lossy()),
                _ => Error::not_found("kernel function", "of those to probe"),
            },
            Errno::OPNOTSUPP | Errno::NOTSUPP => {
                Error::unsupported("kprobe_multi", "CONFIG_FPROBE")
            }
            Errno::INVAL if session && !knows() => {
                Error::unsupported("kprobe_session", "Linux 6.10 with CONFIG_FPROBE")
            }
            Errno::INVAL if !knows() => self.not_many(names, &target),
            errno => self.failed("BPF_LINK_CREATE", errno, &target),
        })?;
        Ok(Link::of(&self.kernel, fd, target))
    }

    /// Says what `EINVAL` means of a kernel that says so of a function that is nowhere too: either it has
    /// no such links, or it is Linux 5.18, which first looks for the functions among its symbols
    /// (kprobe_multi_resolve_syms, kernel/trace/bpf_trace.c) and has no `ESRCH` for those not there.
    fn not_many(&self, names: &[CString], target: &str) -> Error {
        let symbols = kallsyms::read(&*self.kernel);
        let known: HashSet<&[u8]> = kallsyms::symbols(&symbols)
            .map(|symbol| symbol.name)
            .collect();
        if !known.contains(&b"bpf_kprobe_multi_link_attach"[..]) {
            return Error::unsupported("kprobe_multi", "Linux 5.18 with CONFIG_FPROBE");
        }
        let missing = names.iter().find(|name| !known.contains(name.to_bytes()));
        match missing {
            Some(name) => Error::not_found("kernel function", name.to_string_lossy()),
            None => self.failed("BPF_LINK_CREATE", Errno::INVAL, target),
        }
    }
}

/// How tracefs calls what is left of weak functions that were replaced (Linux 6.0): the kernel finds no
/// function of this name.
const REPLACED: &[u8] = b"__ftrace_invalid_address___";

/// Gives the names of tracefs' list that one function alone has, of those that are wanted by name and
/// module; the kernel's own functions have an empty module.
pub(super) fn once(list: &[u8], wanted: impl Fn(&[u8], &[u8]) -> bool) -> Vec<&[u8]> {
    // `name`, or `name [module]`; a line each, in the order of addresses.
    let named = |line| {
        let mut words = <[u8]>::split(line, |&byte| byte == b' ');
        let named = |name: &&[u8]| !name.is_empty() && !name.starts_with(REPLACED);
        let name = words.next().filter(named)?;
        let module = words.next().and_then(|word| word.strip_prefix(b"["));
        let module = module.and_then(|word| word.strip_suffix(b"]"));
        wanted(name, module.unwrap_or_default()).then_some(name)
    };
    let mut names: Vec<&[u8]> = list
        .split(|&byte| byte == b'\n')
        .filter_map(named)
        .collect();
    names.sort_unstable();
    let same = names.chunk_by(|a, b| a == b);
    same.filter_map(|same| match same {
        [one] => Some(*one),
        _ => None,
    })
    .collect()
}
