//! The kernel image and the initial file system of the capture: are they there, and are they right?

use std::path::{Path, PathBuf};

use super::kernel::KernelFacts;
use super::target::TargetFacts;
use crate::config::Config;
use crate::load::Load;
use crate::manifest::{LOADED, Loaded, Manifest, Source, beside};
use crate::modules::Modules;
use crate::root::Root;

/// The kernel image and the initial file system of the capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageFacts {
    /// The kernel image.
    pub image: PathBuf,
    /// What its header says; none where it is not there.
    pub header: Option<ImageHeader>,
    /// The initial file system.
    pub initrd: PathBuf,
    /// Its bytes; none where it is not there.
    pub initrd_size: Option<u64>,
    /// What it was made of.
    pub manifest: Option<Manifest>,
    /// What has changed since it was made.
    pub stale: Vec<String>,
    /// Modules that the target needs now and that it does not have.
    pub missing: Vec<String>,
    /// Modules that are loaded for the target and that depmod does not list.
    pub unknown: Vec<String>,
    /// Why the kernel's modules are not known.
    pub no_modules: Option<String>,
    /// What `kscope kdump load` loaded since the machine started.
    pub loaded: Option<Loaded>,
    /// What of that has changed.
    pub loaded_stale: Vec<String>,
}

/// What the header of a kernel image says (Documentation/arch/x86/boot.rst).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageHeader {
    /// Its release; none where the format has no place for it.
    pub release: Option<String>,
    /// Bytes of memory that it needs to start.
    pub init_size: Option<u64>,
    /// Bytes of the file.
    pub size: u64,
    /// Whether it can run anywhere in memory.
    pub relocatable: Option<bool>,
    /// Whether it has a signature.
    pub signed: bool,
}

impl ImageFacts {
    pub(crate) fn gather(
        root: &Root,
        config: &Config,
        kernel: &KernelFacts,
        target: &TargetFacts,
    ) -> ImageFacts {
        let release = &*kernel.release;
        let (image, initrd) = (config.kernel_of(release), config.initrd_of(release));
        let size = |path: &Path| {
            std::fs::metadata(root.path(path))
                .map(|meta| meta.len())
                .ok()
        };
        let text = root.text(beside(&initrd)).ok();
        let manifest = text.and_then(|text| Manifest::parse(&text));
        let mut facts = ImageFacts {
            header: ImageHeader::read(root, &image),
            initrd_size: size(&initrd),
            loaded: root.text(LOADED).ok().and_then(|text| Loaded::parse(&text)),
            ..ImageFacts::default()
        };
        if let Some(loaded) = &facts.loaded {
            let sources = [&loaded.image, &loaded.initrd].into_iter();
            facts.loaded_stale = sources
                .filter_map(|source| source.difference(root))
                .collect();
            // Where nothing can be loaded anew, that is told elsewhere.
            if let Ok(plan) = Load::plan(config, kernel, target) {
                facts.loaded_stale.extend(loaded.other(&plan));
            }
        }
        if let Some(manifest) = &manifest {
            if manifest.release != release {
                facts.stale.push(format!("it is for {}", manifest.release));
            }
            let now = target.seen_by_capture().map(|target| target.to_string());
            if let Some(now) = now.filter(|now| *now != manifest.target) {
                facts
                    .stale
                    .push(format!("it writes to {}, not to {now}", manifest.target));
            }
            let sources = manifest.sources.iter();
            facts
                .stale
                .extend(sources.filter_map(|source| source.difference(root)));
        }
        match Modules::load(root, release) {
            Ok(modules) => {
                let (known, unknown) = target.known_modules(&modules);
                // What was not loaded from a file is part of the image, whether depmod lists it or not.
                let loaded = |name: &String| {
                    let name = name.replace('-', "_");
                    root.exists(format!("/sys/module/{name}/initstate"))
                };
                facts.unknown = unknown.into_iter().filter(loaded).collect();
                let order = modules.in_order(known.iter().map(String::as_str));
                let needed = order
                    .into_iter()
                    .flatten()
                    .filter(|module| !module.optional);
                let has = |name: &String| {
                    manifest
                        .as_ref()
                        .is_some_and(|manifest| manifest.modules.contains(name))
                };
                facts.missing = needed
                    .map(|module| module.name)
                    .filter(|name| !has(name))
                    .collect();
            }
            Err(why) => facts.no_modules = Some(why.to_string()),
        }
        facts.image = image;
        facts.initrd = initrd;
        facts.manifest = manifest;
        facts
    }
}

impl ImageHeader {
    /// Reads the header of an image.
    fn read(root: &Root, path: &Path) -> Option<ImageHeader> {
        const START: u64 = 1 << 16;
        let bytes = root.bytes(path, START).ok()?;
        let size = std::fs::metadata(root.path(path)).ok()?.len();
        let mut header = ImageHeader::parse(&bytes);
        header.size = size;
        Some(header)
    }

    /// Reads the first bytes of an image, 64 KiB at most; what is not there or of another format is none.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> ImageHeader {
        let u16_at = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let u32_at = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let mut header = ImageHeader {
            signed: signature(bytes).is_some_and(|size| size > 0),
            ..ImageHeader::default()
        };
        if bytes.get(0x202..0x206) != Some(b"HdrS") {
            return header;
        }
        let version = u16_at(0x206).unwrap_or(0);
        let text_at = u16_at(0x20e).map(|at| usize::from(at) + 0x200);
        let text = text_at.and_then(|at| bytes.get(at..));
        let text = text.map(|text| text.split(|byte| *byte == 0).next().unwrap_or_default());
        let text = text.map(|text| String::from_utf8_lossy(text).into_owned());
        header.release = text.and_then(|text| text.split(' ').next().map(str::to_owned));
        header.init_size = u32_at(0x260).filter(|_| version >= 0x20a).map(u64::from);
        header.relocatable = bytes
            .get(0x234)
            .filter(|_| version >= 0x205)
            .map(|flag| *flag == 1);
        header
    }
}

/// Gives the bytes of signatures of a PE file: the fifth data directory of its optional header.
fn signature(bytes: &[u8]) -> Option<u32> {
    let u32_at = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    if !bytes.starts_with(b"MZ") {
        return None;
    }
    let pe = u32_at(0x3c)? as usize;
    if bytes.get(pe..pe.checked_add(4)?) != Some(b"PE\0\0") {
        return None;
    }
    let optional = pe + 24;
    // The directories begin at 112 in the 64-bit form (PE32+) and at 96 in the other.
    let directories = match bytes.get(optional..optional + 2)? {
        [0x0b, 0x02] => optional + 112,
        _ => optional + 96,
    };
    u32_at(directories + 4 * 8 + 4)
}

/// Remembers what is loaded.
pub(crate) fn remember(root: &Root, loaded: &Loaded) -> Result<(), crate::Error> {
    crate::initrd::replace(&root.path(LOADED), loaded.text().as_bytes())
}

/// Looks at the two files that are about to be loaded.
pub(crate) fn sources(
    root: &Root,
    image: &Path,
    initrd: &Path,
    command_line: &str,
) -> Result<Loaded, crate::Error> {
    Ok(Loaded {
        image: Source::of(root, image)?,
        initrd: Source::of(root, initrd)?,
        command_line: command_line.to_owned(),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Makes the start of a bzImage.
    pub(crate) fn bzimage(release: &str, signed: bool) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c] = 0x80;
        bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
        bytes[0x98..0x9a].copy_from_slice(&[0x0b, 0x02]);
        bytes[0x98 + 112 + 36] = u8::from(signed) * 8;
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x206..0x208].copy_from_slice(&0x20fu16.to_le_bytes());
        bytes[0x20e..0x210].copy_from_slice(&0x400u16.to_le_bytes());
        bytes[0x234] = 1;
        bytes[0x260..0x264].copy_from_slice(&(48u32 << 20).to_le_bytes());
        let text = format!("{release} (builder@host) #1 SMP\0");
        bytes[0x600..0x600 + text.len()].copy_from_slice(text.as_bytes());
        bytes
    }

    #[test]
    fn headers() {
        let header = ImageHeader::parse(&bzimage("6.1.0-1-amd64", false));
        assert_eq!(header.release.as_deref(), Some("6.1.0-1-amd64"));
        assert_eq!(header.init_size, Some(48 << 20));
        assert_eq!((header.relocatable, header.signed), (Some(true), false));
        assert!(ImageHeader::parse(&bzimage("6.1", true)).signed);
        for cut in 0..0x700 {
            let _ = ImageHeader::parse(&bzimage("6.1", true)[..cut]);
        }
    }
}
