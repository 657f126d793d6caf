//! A kernel as it is for those who hold a BPF token.

use std::os::fd::{AsFd, OwnedFd};

use crate::bpf::{Bpf, MapCreate};
use crate::call::{Call, Reply};
use crate::errno::Errno;
use crate::kernel::{Kernel, SharedKernel};

/// `BPF_F_TOKEN_FD`, for maps and programs; for BTF the encoding sets it.
const TOKEN_FD: u32 = 1 << 16;

/// What a BPF file system delegates, in the kernel's own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delegated {
    /// Where the file system is mounted.
    pub path: String,
    /// Its mount options, for example `rw,delegate_cmds=map_create:prog_load,delegate_maps=any`.
    pub options: String,
}

/// Passes every call on, with a token to those that take one.
#[derive(Debug)]
pub struct TokenKernel {
    inner: SharedKernel,
    token: OwnedFd,
    delegated: Delegated,
}

impl TokenKernel {
    /// Puts a token in front of a kernel.
    pub fn new(inner: SharedKernel, token: OwnedFd, delegated: Delegated) -> TokenKernel {
        TokenKernel {
            inner,
            token,
            delegated,
        }
    }
}

impl Kernel for TokenKernel {
    fn call(&self, call: Call<'_>) -> Result<Reply, Errno> {
        let token = Some(self.token.as_fd());
        self.inner.call(match call {
            Call::Bpf(Bpf::MapCreate(map)) => Call::Bpf(Bpf::MapCreate(MapCreate {
                token,
                flags: map.flags | TOKEN_FD,
                ..map
            })),
            Call::Bpf(Bpf::ProgramLoad(mut load)) => {
                load.token = token;
                load.flags |= TOKEN_FD;
                Call::Bpf(Bpf::ProgramLoad(load))
            }
            Call::Bpf(Bpf::BtfLoad(mut load)) => {
                load.token = token;
                Call::Bpf(Bpf::BtfLoad(load))
            }
            other => other,
        })
    }

    fn delegated(&self) -> Option<&Delegated> {
        Some(&self.delegated)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::bpf::{BtfLoad, ProgramLoad};
    use crate::fake::FakeKernel;

    #[test]
    fn calls_that_take_a_token_get_it() {
        let fake = Arc::new(FakeKernel::new(|_| FakeKernel::object()));
        let Ok(Reply::Fd(token)) = FakeKernel::object() else {
            panic!("/dev/null");
        };
        let number = std::os::fd::AsRawFd::as_raw_fd(&token).to_ne_bytes();
        let kernel = TokenKernel::new(fake.clone(), token, Delegated::default());
        let kernel: &dyn Kernel = &kernel;
        let _ = kernel.map_create(MapCreate {
            flags: 1,
            ..MapCreate::default()
        });
        let _ = kernel.program_load(ProgramLoad::default());
        let _ = kernel.btf_load(BtfLoad {
            bytes: &[],
            token: None,
            log: None,
        });
        let _ = kernel.enable_stats();
        let flag = |flags: u32| flags.to_ne_bytes();
        let calls = fake.calls();
        // Where flags and token lie in each attribute.
        for (call, (flags, at), expected) in [
            (&calls[0], (16, 76), TOKEN_FD | 1),
            (&calls[1], (44, 144), TOKEN_FD),
            (&calls[2], (32, 36), TOKEN_FD),
        ] {
            assert_eq!(call.attr[flags..flags + 4], flag(expected), "{}", call.name);
            assert_eq!(call.attr[at..at + 4], number, "{}", call.name);
        }
        assert_eq!(calls[3].attr.len(), 4);
    }
}
