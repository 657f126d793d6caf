//! Build options and facts of the kernel, as the variables of `.kconfig` that stand for them.

use kscope_btf::Kind;
use kscope_spec::{ExternKind, MapId};

use super::{Externs, Missing};
use crate::error::Error;
use crate::features::perf_cookie;
use crate::loader::kconfig::{self, KernelConfig};
use crate::loader::maps::Contents;

/// The architectures' names of the system call bpf where calls go through a wrapper.
const WRAPPERS: [&str; 4] = [
    "__x64_sys_bpf",
    "__arm64_sys_bpf",
    "__riscv_sys_bpf",
    "__s390x_sys_bpf",
];

impl Externs<'_> {
    /// Writes build options and facts of the kernel into the contents of their map. What has no
    /// value is remembered, for the programs that use it.
    pub(crate) fn write_config(&mut self, contents: &mut Contents, given: Option<&KernelConfig>) {
        let wanted: Vec<&str> = self
            .spec
            .externs
            .iter()
            .filter(|external| matches!(external.kind, ExternKind::Config { .. }))
            .map(|external| external.name.as_str())
            .collect();
        if wanted.is_empty() {
            return;
        }
        let opened;
        let options = match given {
            Some(given) => Some(given),
            None if wanted.iter().any(|name| name.starts_with("CONFIG_")) => {
                opened = KernelConfig::open(&*self.kernel, &wanted);
                opened.as_ref()
            }
            None => None,
        };
        for external in &self.spec.externs {
            let ExternKind::Config {
                map,
                offset,
                size,
                config,
            } = external.kind
            else {
                continue;
            };
            let bytes = match self.fact(&external.name) {
                Some(value) => Some(kconfig::fact(value, config, size)),
                None => options
                    .and_then(|options| options.get(&external.name))
                    .map(|text| kconfig::option(text, config, size)),
            };
            let why = match bytes {
                Some(Ok(bytes)) => {
                    if self.put(contents, map, offset, &bytes).is_some() {
                        continue;
                    }
                    Error::invalid(format!("{} lies outside of its map", external.name))
                }
                Some(Err(why)) => Error::invalid(format!("build option {}: {why}", external.name)),
                None if external.weak => continue,
                None if options.is_none() && external.name.starts_with("CONFIG_") => {
                    Error::unsupported(
                        format!(
                            "configuration to read, which {} is looked for in (/proc/config.gz or \
                             the file of its release in /boot)",
                            external.name
                        ),
                        "CONFIG_IKCONFIG_PROC, or with Loader::kernel_config",
                    )
                }
                None => Error::not_found("build option", &external.name),
            };
            self.missing.push(Missing {
                map,
                offset,
                size,
                why,
            });
        }
    }

    /// Writes a variable's value into the contents of its map; none where it lies outside.
    fn put(&self, contents: &mut Contents, map: MapId, offset: u32, bytes: &[u8]) -> Option<()> {
        let index = map.0 as usize;
        let (start, spec) = (offset as usize, self.spec.maps.get(index)?);
        let end = start.checked_add(bytes.len())?;
        (end <= spec.value_size as usize).then_some(())?;
        let value = contents.get_mut(index)?;
        let value = value.get_or_insert_with(|| spec.initial.clone().unwrap_or_default());
        if value.len() < end {
            value.resize(end, 0);
        }
        value.get_mut(start..end)?.copy_from_slice(bytes);
        Some(())
    }

    /// Gives a fact that is no build option.
    fn fact(&self, name: &str) -> Option<u64> {
        match name {
            "LINUX_KERNEL_VERSION" => kconfig::version_code(&*self.kernel).map(u64::from),
            "LINUX_HAS_BPF_COOKIE" => Some(perf_cookie(&self.kernel).is_available().into()),
            "LINUX_HAS_SYSCALL_WRAPPER" => {
                let base = self.types.base();
                let typed = |name: &&str| base.is_some_and(|b| b.find(name, Kind::Func).is_some());
                let named = |name: &&str| self.resolver.is_some_and(|find| find(name).is_some());
                Some(
                    WRAPPERS
                        .iter()
                        .any(|name| named(name) || typed(name))
                        .into(),
                )
            }
            _ => None,
        }
    }
}
