//! A kernel that a test plays.

use std::sync::Mutex;

use crate::call::{Call, Reply};
use crate::errno::Errno;
use crate::kernel::Kernel;

type Script = dyn FnMut(Call<'_>) -> Result<Reply, Errno> + Send;

/// Answers calls by a closure, and keeps what was asked.
pub struct FakeKernel {
    script: Mutex<Box<Script>>,
    log: Mutex<Vec<FakeCall>>,
}

/// One call that a [`FakeKernel`] got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeCall {
    /// The system call or command of bpf(2).
    pub name: &'static str,
    /// For bpf(2), the bytes of its attribute, addresses included; otherwise empty.
    pub attr: Vec<u8>,
}

impl FakeKernel {
    /// Makes a kernel that answers by `script`.
    pub fn new(
        script: impl FnMut(Call<'_>) -> Result<Reply, Errno> + Send + 'static,
    ) -> FakeKernel {
        FakeKernel {
            script: Mutex::new(Box::new(script)),
            log: Mutex::new(Vec::new()),
        }
    }

    /// Gives the calls so far.
    pub fn calls(&self) -> Vec<FakeCall> {
        self.log.lock().map(|log| log.clone()).unwrap_or_default()
    }

    /// Gives a descriptor that stands for an object of the kernel.
    ///
    /// # Errors
    ///
    /// Where `/dev/null` cannot be opened.
    pub fn object() -> Result<Reply, Errno> {
        let null = std::fs::File::open("/dev/null").map_err(|e| Errno::from_io(&e))?;
        Ok(Reply::Fd(null.into()))
    }
}

impl Kernel for FakeKernel {
    fn call(&self, mut call: Call<'_>) -> Result<Reply, Errno> {
        let name = call.name();
        let mut bytes = Vec::new();
        if let Call::Bpf(bpf) = &mut call {
            // The same checks as before a real call.
            let attr = bpf.attr()?;
            bytes.extend(attr.words.iter().flat_map(|word| word.to_ne_bytes()));
            bytes.truncate(attr.size);
        }
        if let Ok(mut log) = self.log.lock() {
            log.push(FakeCall { name, attr: bytes });
        }
        let mut script = self.script.lock().map_err(|_| Errno::IO)?;
        script(call)
    }
}
