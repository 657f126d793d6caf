//! Symbols: which of several of a name is meant.

use std::collections::HashMap;

use super::LinkError;
use super::compare;
use super::input::Input;
use super::sections::Layout;
use crate::elf::write::Writer;
use crate::elf::{Binding, Place, Symbol, SymbolIndex, SymbolKind};

/// What names stand for.
pub(super) struct Resolved {
    by_name: HashMap<String, Global>,
}

/// A symbol that all objects see.
#[derive(Clone, Copy, Debug)]
pub(super) struct Global {
    /// The object that defines it, or the first to declare it.
    pub(super) input: usize,
    symbol: SymbolIndex,
    /// Whether no object defines it.
    pub(super) is_extern: bool,
    strong: bool,
    /// Whether a definition of it is strong.
    defined_strong: bool,
    hidden: bool,
}

/// The indices, for relocations, of the symbols of all objects.
pub(super) type Symbols = HashMap<(usize, SymbolIndex), SymbolIndex>;

/// Gives the symbols of an object that others see.
fn globals<'i, 'a>(input: &'i Input<'a>) -> impl Iterator<Item = (SymbolIndex, &'i Symbol<'a>)> {
    let all = (0..).map(SymbolIndex).zip(&input.elf.symbols).skip(1);
    all.filter(|(_, symbol)| symbol.binding != Binding::Local)
}

impl Resolved {
    pub(super) fn of(inputs: &[Input<'_>], layout: &Layout<'_>) -> Result<Resolved, LinkError> {
        let mut by_name: HashMap<String, Global> = HashMap::new();
        for (number, input) in inputs.iter().enumerate() {
            for (index, symbol) in globals(input) {
                let found = global(inputs, layout, number, index, symbol)?;
                let Some(found) = found else {
                    continue;
                };
                match by_name.get_mut(symbol.name) {
                    Some(known) => known.join(inputs, found)?,
                    None => drop(by_name.insert(symbol.name.to_owned(), found)),
                }
            }
        }
        let resolved = Resolved { by_name };
        for (number, input) in inputs.iter().enumerate() {
            for (_, symbol) in globals(input) {
                if let Some(global) = resolved.by_name.get(symbol.name) {
                    compare::symbol(inputs, symbol.name, global, number)?;
                }
            }
        }
        Ok(resolved)
    }

    /// Gives what a name stands for.
    pub(super) fn get(&self, name: &str) -> Option<&Global> {
        self.by_name.get(name)
    }

    /// Writes the symbols.
    pub(super) fn write(
        &self,
        inputs: &[Input<'_>],
        layout: &Layout<'_>,
        writer: &mut Writer,
    ) -> Symbols {
        let mut symbols = Symbols::new();
        let mut of_sections: HashMap<usize, SymbolIndex> = HashMap::new();
        let mut of_names: HashMap<&str, SymbolIndex> = HashMap::new();
        for (number, input) in inputs.iter().enumerate() {
            let used: std::collections::HashSet<SymbolIndex> = input
                .relocations()
                .map(|(_, _, relocation)| relocation.symbol)
                .collect();
            for (index, symbol) in (0..).map(SymbolIndex).zip(&input.elf.symbols).skip(1) {
                let place = symbol
                    .section()
                    .and_then(|section| layout.place(number, section));
                let written = match (symbol.binding, symbol.kind) {
                    (Binding::Local, SymbolKind::Section) => {
                        place.filter(|_| used.contains(&index)).map(|place| {
                            *of_sections.entry(place.part).or_insert_with(|| {
                                writer.symbol(Symbol {
                                    name: "",
                                    kind: SymbolKind::Section,
                                    binding: Binding::Local,
                                    hidden: false,
                                    place: Place::Section(place.index()),
                                    value: 0,
                                    size: 0,
                                })
                            })
                        })
                    }
                    (Binding::Local, kind) => {
                        let is_named = matches!(kind, SymbolKind::Function | SymbolKind::Object);
                        // What is the same in all objects stands there once, for all to name.
                        let is_own = place.is_some_and(|place| !place.shared);
                        let wanted = is_named && is_own || used.contains(&index);
                        place.filter(|_| wanted).map(|place| {
                            writer.symbol(Symbol {
                                place: Place::Section(place.index()),
                                value: symbol.value.wrapping_add(place.offset),
                                ..*symbol
                            })
                        })
                    }
                    _ => match of_names.get(symbol.name) {
                        Some(&known) => Some(known),
                        None => {
                            let written = self.global(inputs, layout, symbol.name, writer);
                            if let Some(written) = written {
                                of_names.insert(symbol.name, written);
                            }
                            written
                        }
                    },
                };
                if let Some(written) = written {
                    symbols.insert((number, index), written);
                }
            }
        }
        symbols
    }

    fn global(
        &self,
        inputs: &[Input<'_>],
        layout: &Layout<'_>,
        name: &str,
        writer: &mut Writer,
    ) -> Option<SymbolIndex> {
        let global = self.get(name)?;
        let symbol = inputs.get(global.input)?.elf.symbol(global.symbol)?;
        let place = symbol
            .section()
            .and_then(|section| layout.place(global.input, section));
        Some(
            writer.symbol(Symbol {
                binding: match global.strong {
                    true => Binding::Global,
                    false => Binding::Weak,
                },
                hidden: global.hidden,
                place: place.map_or(Place::Undefined, |place| Place::Section(place.index())),
                value: symbol
                    .value
                    .wrapping_add(place.map_or(0, |place| place.offset)),
                ..*symbol
            }),
        )
    }
}

/// Checks a symbol that others see; none where its section is left out.
fn global(
    inputs: &[Input<'_>],
    layout: &Layout<'_>,
    number: usize,
    index: SymbolIndex,
    symbol: &Symbol<'_>,
) -> Result<Option<Global>, LinkError> {
    let refuse = |why| {
        Err(LinkError::Symbol {
            file: inputs.get(number).map_or("", |input| input.name).to_owned(),
            symbol: symbol.name.to_owned(),
            why,
        })
    };
    if !matches!(symbol.binding, Binding::Global | Binding::Weak) {
        return refuse("is neither local, global nor weak");
    }
    if symbol.name.is_empty() {
        return refuse("is global and has no name");
    }
    let strong = symbol.binding == Binding::Global;
    let (is_extern, defined_strong) = match symbol.place {
        Place::Undefined => (true, false),
        Place::Special(_) => {
            return refuse(
                "has no section: give the variable a value, or compile with -fno-common",
            );
        }
        Place::Section(section) => match layout.place(number, section) {
            // The same in all objects, and in the first of them defined.
            Some(place) => (false, strong && !place.shared),
            None => return Ok(None),
        },
    };
    Ok(Some(Global {
        input: number,
        symbol: index,
        is_extern,
        strong,
        defined_strong,
        hidden: symbol.hidden,
    }))
}

impl Global {
    /// Adds another symbol of this name.
    fn join(&mut self, inputs: &[Input<'_>], other: Global) -> Result<(), LinkError> {
        if self.defined_strong && other.defined_strong {
            let place = |global: &Global| {
                let input = inputs.get(global.input);
                let section = input.and_then(|input| {
                    let section = input.elf.symbol(global.symbol)?.section()?;
                    Some(input.elf.section_name(section))
                });
                let file = input.map_or("", |input| input.name);
                (file.to_owned(), section.unwrap_or_default().to_owned())
            };
            let input = inputs.get(self.input);
            let symbol = input.and_then(|input| input.elf.symbol(self.symbol));
            return Err(LinkError::Duplicate {
                symbol: symbol.map_or("", |symbol| symbol.name).to_owned(),
                first: place(self),
                second: place(&other),
            });
        }
        let replaces = match (self.is_extern, other.is_extern) {
            (true, false) => true,
            (false, false) => other.defined_strong,
            _ => false,
        };
        if replaces {
            (self.input, self.symbol, self.is_extern) = (other.input, other.symbol, false);
        }
        self.defined_strong |= other.defined_strong;
        self.strong |= other.strong;
        self.hidden |= other.hidden;
        Ok(())
    }
}
