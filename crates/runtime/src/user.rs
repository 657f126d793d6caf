//! Programs and libraries: what attach points name in them, and where that is.

mod boundary;
mod image;
mod linker_cache;
mod parts;
mod places;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use kscope_bpf::UprobePlace;
use kscope_script::catalogue::{Absent, Language, UsdtProbe, UserFunction, is_pattern, matches};
use kscope_script::near::nearest;
use kscope_script::plan::Attach;
use kscope_symbol::read_regular;

pub(crate) use image::read_symbols;
use image::{Image, ImageFunction};
use places::Root;

/// Names that are given as what may be meant.
const NEAR: usize = 3;

/// The programs and libraries that a script names, each read once.
#[derive(Debug)]
pub(crate) struct UserFiles {
    root: Root,
    /// What names that were looked up stand for.
    found: Mutex<HashMap<String, Vec<String>>>,
    images: Mutex<HashMap<String, Result<Arc<Image>, String>>>,
}

impl UserFiles {
    /// Looks names up as a process sees them; as this one does where there is none.
    pub(crate) fn new(pid: Option<u32>) -> UserFiles {
        UserFiles {
            root: Root::of(pid),
            found: Mutex::default(),
            images: Mutex::default(),
        }
    }

    /// Finds the files of a name.
    fn files(&self, name: &str) -> Result<Vec<String>, Absent> {
        let mut known = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(name) {
            return Ok(found.clone());
        }
        let Ok(found) = self.root.find(name) else {
            let why = format!("{name} stands for more than {} files", places::MOST_FILES);
            let near = Vec::new();
            return Err(Absent::Missing { why, near });
        };
        if !found.is_empty() {
            known.insert(name.to_owned(), found.clone());
            return Ok(found);
        }
        drop(known);
        let (why, near) = if is_pattern(name) {
            (format!("no program or library matches {name}"), Vec::new())
        } else if name.contains('/') {
            (format!("there is no file {name}"), near_files(name))
        } else {
            let names = self.root.short_names();
            let near = nearest(name, names.iter().map(String::as_str), NEAR);
            (format!("there is no program or library {name}"), near)
        };
        Err(Absent::Missing { why, near })
    }

    /// Reads a file once.
    fn image(&self, path: &str) -> Result<Arc<Image>, String> {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = images.get(path) {
            return known.clone();
        }
        let image = match parts::read(path) {
            Ok(bytes) => match Image::read(bytes) {
                Ok(image) => Ok(Arc::new(image)),
                Err(error) => Err(format!("{path}: {error}")),
            },
            Err(error) => Err(format!("cannot read {path}: {error}")),
        };
        images.insert(path.to_owned(), image.clone());
        image
    }

    /// Reads files; that one of many is no executable is no matter.
    fn images(&self, name: &str) -> Result<Vec<(String, Arc<Image>)>, Absent> {
        let files = self.files(name)?;
        let one = files.len() == 1;
        let mut found = Vec::new();
        for path in files {
            match self.image(&path) {
                Ok(image) => found.push((path, image)),
                Err(why) if one => {
                    let near = Vec::new();
                    return Err(Absent::Missing { why, near });
                }
                Err(_) => {}
            }
        }
        Ok(found)
    }

    /// As [`kscope_script::catalogue::Catalogue::user_functions`].
    pub(crate) fn functions(
        &self,
        name: &str,
        language: Option<Language>,
        function: &str,
    ) -> Result<Vec<UserFunction>, Absent> {
        let images = self.images(name)?;
        let mut found = Vec::new();
        for (path, image) in &images {
            let mut push = |symbol: &str, shown: &str| {
                found.push(UserFunction {
                    path: path.clone(),
                    symbol: symbol.to_owned(),
                    shown: shown.to_owned(),
                });
            };
            match language {
                None if function.is_empty() => push("", ""),
                None if is_pattern(function) => {
                    let mut names: Vec<&str> = image
                        .functions()
                        .iter()
                        .map(|f| f.name.as_str())
                        .filter(|name| matches(function, name))
                        .collect();
                    names.dedup();
                    for name in names {
                        push(name, name);
                    }
                }
                None => {
                    let plain = function.split('@').next().unwrap_or(function);
                    if image.function(plain).is_some() {
                        push(plain, function);
                    }
                }
                Some(language) => {
                    let mut names: BTreeMap<&str, String> = BTreeMap::new();
                    for symbol in image.functions() {
                        let Some(shown) = image::demangled(&symbol.name, language) else {
                            continue;
                        };
                        let plain = shown.split('(').next().unwrap_or(&shown);
                        if matches(function, plain) || matches(function, &shown) {
                            names.insert(&symbol.name, shown);
                        }
                    }
                    for (symbol, shown) in names {
                        push(symbol, &shown);
                    }
                }
            }
        }
        if found.is_empty() {
            return Err(self.no_function(&images, function, Vec::new()));
        }
        Ok(found)
    }

    fn no_function(
        &self,
        images: &[(String, Arc<Image>)],
        function: &str,
        near: Vec<String>,
    ) -> Absent {
        let why = match images {
            [(path, image)] if !image.has_functions() => format!(
                "{path} has no symbols of functions, so that {function} cannot be found: \
                 it is stripped"
            ),
            [(path, _)] if is_pattern(function) => {
                format!("{path} has no function that matches {function}")
            }
            [(path, _)] => format!("{path} has no function {function}"),
            _ => format!("no function matches {function}"),
        };
        Absent::Missing { why, near }
    }

    /// As [`kscope_script::catalogue::Catalogue::near_user_functions`].
    pub(crate) fn near_functions(
        &self,
        name: &str,
        language: Option<Language>,
        function: &str,
    ) -> Vec<String> {
        match self.images(name).as_deref() {
            Ok([(_, image)]) if !is_pattern(function) => near_functions(image, language, function),
            _ => Vec::new(),
        }
    }

    /// As [`kscope_script::catalogue::Catalogue::usdt`].
    pub(crate) fn usdt(
        &self,
        name: &str,
        provider: &str,
        probe: &str,
    ) -> Result<Vec<UsdtProbe>, Absent> {
        let images = self.images(name)?;
        let mut found = Vec::new();
        for (path, image) in &images {
            let mut counts: HashMap<(&str, &str), u32> = HashMap::new();
            for note in &image.usdt {
                let count = counts.entry((&note.provider, &note.name)).or_insert(0);
                let index = *count;
                *count += 1;
                if !matches(provider, &note.provider) || !matches(probe, &note.name) {
                    continue;
                }
                found.push(UsdtProbe {
                    path: path.clone(),
                    provider: note.provider.clone(),
                    name: note.name.clone(),
                    index,
                    arguments: kscope_bpf::usdt_arguments(image.machine, &note.place.arguments),
                });
            }
        }
        if !found.is_empty() {
            found.sort_by(|left, right| {
                let key = |p: &UsdtProbe| (p.path.clone(), p.provider.clone(), p.name.clone());
                (key(left), left.index).cmp(&(key(right), right.index))
            });
            return Ok(found);
        }
        let mut known: Vec<String> = Vec::new();
        for (_, image) in &images {
            let notes = image.usdt.iter();
            known.extend(notes.map(|note| format!("{}:{}", note.provider, note.name)));
        }
        known.sort_unstable();
        known.dedup();
        if known.is_empty() {
            let why = format!("{name} has no USDT probes");
            let near = Vec::new();
            return Err(Absent::Missing { why, near });
        }
        let wanted = format!("{provider}:{probe}");
        let mut near: Vec<String> = Vec::new();
        if !is_pattern(probe) {
            let names = known.iter().map(|known| match provider {
                "*" => known.split(':').next_back().unwrap_or(known),
                _ => known.as_str(),
            });
            let searched = if provider == "*" { probe } else { &wanted };
            near = nearest(searched, names, NEAR);
            near.dedup();
        }
        let why = match provider {
            "*" => format!("{name} has no USDT probe {probe}"),
            _ => format!("{name} has no USDT probe {wanted}"),
        };
        Err(Absent::Missing { why, near })
    }

    /// As [`kscope_script::catalogue::Catalogue::user_distance`].
    pub(crate) fn distance(&self, from: &Attach, symbol: &str) -> Result<(i64, u64), Absent> {
        let missing = |why: String, near: Vec<String>| Absent::Missing { why, near };
        let (path, place) = self.place(from)?;
        let bytes = read_regular(&path)
            .map_err(|error| missing(format!("cannot read {path}: {error}"), Vec::new()))?;
        let file = kscope_bpf::Executable::parse(&bytes)
            .map_err(|error| missing(format!("{path}: {error}"), Vec::new()))?;
        let image = self.image(&path).map_err(|why| missing(why, Vec::new()))?;
        let object = image.objects().iter().find(|object| object.name == symbol);
        let object = object.map(|object| (object.address, object.size));
        let function = || {
            let function = image.function(symbol)?;
            Some((file.address_of(function.offset)?, function.size))
        };
        let Some((address, size)) = object.or_else(function) else {
            let names = image.objects().iter().map(|object| object.name.as_str());
            let names = names.chain(image.functions().iter().map(|f| f.name.as_str()));
            let near = kscope_btf::nearest(symbol, names, NEAR);
            let near = near.into_iter().map(str::to_owned).collect();
            let why = format!("{path} has no symbol {symbol}");
            return Err(missing(why, near));
        };
        let here = file.address_of(place.offset);
        let here = here.ok_or_else(|| missing(format!("{path} is not mapped"), Vec::new()))?;
        Ok((address.wrapping_sub(here) as i64, size))
    }

    /// Finds the place in a file that an attach point stands for.
    pub(crate) fn place(&self, point: &Attach) -> Result<(String, UprobePlace), Absent> {
        let missing = |why: String| Absent::Missing {
            why,
            near: Vec::new(),
        };
        let (name, function, offset) = match point {
            Attach::Uprobe {
                path,
                function,
                offset,
            } => (path, function, *offset),
            Attach::Uretprobe { path, function } => (path, function, 0),
            Attach::Usdt {
                path,
                provider,
                name,
                index,
            } => {
                let image = self.image(path).map_err(missing)?;
                let mut notes = image.usdt.iter();
                let mut of = notes
                    .by_ref()
                    .filter(|n| n.provider == *provider && n.name == *name);
                let note = of.nth(*index as usize);
                let gone = || missing(format!("{path} has no USDT probe {provider}:{name}"));
                let note = note.ok_or_else(gone)?;
                let place = UprobePlace {
                    offset: note.place.offset,
                    counter: note.place.semaphore,
                    cookie: 0,
                };
                return Ok((path.clone(), place));
            }
            _ => return Err(missing("it is no place of a file".to_owned())),
        };
        let Some(path) = self.files(name)?.into_iter().next() else {
            return Err(missing(format!("there is no file {name}")));
        };
        if function.is_empty() {
            let bytes = read_regular(&path);
            let bytes = bytes.map_err(|error| missing(format!("cannot read {path}: {error}")))?;
            let file = kscope_bpf::Executable::parse(&bytes)
                .map_err(|error| missing(format!("{path}: {error}")))?;
            let place = file.offset_of(offset);
            let place =
                place.ok_or_else(|| missing(format!("{path} has nothing at {offset:#x}")))?;
            if !file.is_code(offset) {
                let why = format!("what {path} has at {offset:#x} is not executed");
                return Err(missing(why));
            }
            if let Ok(image) = self.image(&path) {
                refuse_inside(&image, &bytes, place)?;
            }
            return Ok((path, UprobePlace::at(place)));
        }
        let image = self.image(&path).map_err(missing)?;
        let images = [(path.clone(), image.clone())];
        let plain = function.split('@').next().unwrap_or(function);
        let Some(found) = image.function(plain) else {
            let near = near_functions(&images[0].1, None, function);
            return Err(self.no_function(&images, function, near));
        };
        if offset != 0 && offset >= found.size {
            return Err(missing(format!(
                "{function}+{offset} is outside of the function, which has {} bytes",
                found.size
            )));
        }
        let at = found.offset.checked_add(offset);
        let at = at.ok_or_else(|| missing(format!("{path} has nothing there")))?;
        if offset != 0 {
            let bytes = read_regular(&path);
            let bytes = bytes.map_err(|error| missing(format!("cannot read {path}: {error}")))?;
            refuse_inside_of(&image, &bytes, &found, at)?;
        }
        Ok((path, UprobePlace::at(at)))
    }
}

/// Gives the names of functions that are near to one.
fn near_functions(image: &Image, language: Option<Language>, function: &str) -> Vec<String> {
    let functions = image.functions().iter();
    let names: Vec<String> = match language {
        None => functions.map(|f| f.name.clone()).collect(),
        Some(language) => {
            let names = functions.filter_map(|f| image::demangled(&f.name, language));
            names
                .map(|name| name.split('(').next().unwrap_or_default().to_owned())
                .collect()
        }
    };
    let names = names.iter().map(String::as_str);
    let near = kscope_btf::nearest(function, names, NEAR);
    let mut near: Vec<String> = near.into_iter().map(str::to_owned).collect();
    near.dedup();
    near
}

/// Refuses a place of a file that is inside of an instruction of the function that is there.
fn refuse_inside(image: &Image, bytes: &[u8], at: u64) -> Result<(), Absent> {
    let covers = |function: &&ImageFunction| {
        let end = function.offset.saturating_add(function.size);
        (function.offset..end).contains(&at)
    };
    let mut functions = image.functions().iter().filter(covers);
    // One that begins at the place says that an instruction does.
    if functions.clone().any(|function| function.offset == at) {
        return Ok(());
    }
    functions.try_for_each(|function| refuse_inside_of(image, bytes, function, at))
}

/// Refuses a place of a file that is inside of an instruction of a function.
fn refuse_inside_of(
    image: &Image,
    bytes: &[u8],
    function: &ImageFunction,
    at: u64,
) -> Result<(), Absent> {
    let end = function.offset.saturating_add(function.size);
    let range = usize::try_from(function.offset)
        .ok()
        .zip(usize::try_from(end).ok());
    let code = range.and_then(|(begin, end)| bytes.get(begin..end));
    let place = at.saturating_sub(function.offset);
    let around = code.and_then(|code| boundary::around(image.machine, code, place));
    let Some((before, after)) = around else {
        return Ok(());
    };
    let name = &function.name;
    let near = match before {
        0 => vec![name.clone(), format!("{name}+{after}")],
        _ => vec![format!("{name}+{before}"), format!("{name}+{after}")],
    };
    let why = format!(
        "{name}+{place} is inside of an instruction, and a probe there would change what the \
         process does"
    );
    Err(Absent::Missing { why, near })
}

/// Gives files of the same folder with a similar name.
fn near_files(path: &str) -> Vec<String> {
    let Some((folder, name)) = path.rsplit_once('/') else {
        return Vec::new();
    };
    let folder_path = if folder.is_empty() { "/" } else { folder };
    let entries = std::fs::read_dir(folder_path)
        .into_iter()
        .flatten()
        .flatten();
    let names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let near = nearest(name, names.iter().map(String::as_str), NEAR);
    near.iter().map(|name| format!("{folder}/{name}")).collect()
}
