//! Which types are the same.

use std::collections::{HashMap, HashSet};

use super::partition::{Edges, Partition};
use super::{Merger, Node, State};
use crate::kind::Kind;
use crate::shape::Word;

/// How often declarations are matched with definitions before names with more than one
/// definition are given up.
const ROUNDS: usize = 4;

/// What a declaration and its definitions share.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Declared {
    what: Tag,
    name: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Tag {
    Struct,
    Union,
    Enum,
}

/// Gives for each type the one that stands for all that are the same; 0 for those that are removed.
pub(super) fn representatives(merger: &Merger) -> Vec<u32> {
    let mut definitions: HashMap<Declared, Vec<u32>> = HashMap::new();
    let mut declarations: Vec<(u32, Declared)> = Vec::new();
    for (at, node) in merger.nodes.iter().enumerate() {
        match tag(node) {
            Some((declared, true)) => definitions.entry(declared).or_default().push(at as u32),
            Some((declared, false)) => declarations.push((at as u32, declared)),
            None => {}
        }
    }
    declarations.retain(|(_, declared)| definitions.contains_key(declared));
    let mut given_up: HashSet<Declared> = HashSet::new();
    for round in 0.. {
        let mut standing: Vec<u32> = (0..merger.nodes.len() as u32)
            .map(|id| merger.standing(id))
            .collect();
        for (at, declared) in &declarations {
            let definition = definitions.get(declared).and_then(|all| all.first());
            if let Some(&definition) = definition.filter(|_| !given_up.contains(declared)) {
                standing[*at as usize] = definition;
            }
        }
        // What was an alias of a declaration goes on to the definition.
        for at in 0..standing.len() {
            standing[at] = standing[standing[at] as usize];
        }
        let classes = classes(merger, &standing);
        let is_one = |all: &Vec<u32>| {
            let class = |at: &u32| classes[*at as usize];
            all.windows(2).all(|two| class(&two[0]) == class(&two[1]))
        };
        let before = given_up.len();
        for (_, declared) in &declarations {
            let all = &definitions[declared];
            if (round >= ROUNDS && all.len() > 1) || !is_one(all) {
                given_up.insert(*declared);
            }
        }
        if given_up.len() == before {
            return first_of_each(&standing, &classes);
        }
    }
    Vec::new()
}

/// Gives what a type declares or defines, and whether it defines it.
fn tag(node: &Node) -> Option<(Declared, bool)> {
    if node.name == 0 || node.state != State::Kept {
        return None;
    }
    let (what, defines) = match node.kind {
        Kind::Struct => (Tag::Struct, true),
        Kind::Union => (Tag::Union, true),
        Kind::Fwd if node.info >> 31 != 0 => (Tag::Union, false),
        Kind::Fwd => (Tag::Struct, false),
        Kind::Enum | Kind::Enum64 => (Tag::Enum, !node.rest.is_empty()),
        _ => return None,
    };
    let name = node.name;
    Some((Declared { what, name }, defines))
}

/// Gives the class of each type: same class, same type.
fn classes(merger: &Merger, standing: &[u32]) -> Vec<u32> {
    let mut keys: HashMap<Vec<u32>, u32> = HashMap::new();
    let mut class = Vec::with_capacity(merger.nodes.len());
    for (at, node) in merger.nodes.iter().enumerate() {
        let next = keys.len() as u32;
        class.push(*keys.entry(key(merger, at as u32, node)).or_insert(next));
    }
    let edges = merger.nodes.iter().enumerate().flat_map(|(at, node)| {
        references(merger, node)
            .zip(0..)
            .map(move |(to, number)| (at as u32, number, standing[to as usize]))
    });
    let edges = Edges::new(merger.nodes.len(), edges);
    let mut partition = Partition::new(class);
    partition.refine(&edges);
    partition.classes()
}

/// Gives what tells a type from others without looking at what it refers to.
fn key(merger: &Merger, at: u32, node: &Node) -> Vec<u32> {
    if matches!(node.kind, Kind::Var | Kind::DataSec) || node.state != State::Kept {
        // No kind has this bit.
        return vec![1 << 31, at];
    }
    let last = if node.kind.refers() { 0 } else { node.last };
    let mut key = vec![node.kind as u32, node.name, node.info, last];
    let rest = merger.words.get(node.rest.clone()).unwrap_or_default();
    let words = rest.iter().zip(node.kind.words().iter().cycle());
    key.extend(
        words
            .filter(|(_, word)| **word != Word::Type)
            .map(|(value, _)| *value),
    );
    key
}

/// Gives what a type refers to, in order.
fn references<'m>(merger: &'m Merger, node: &'m Node) -> impl Iterator<Item = u32> + Clone + 'm {
    let rest = merger.words.get(node.rest.clone()).unwrap_or_default();
    let words = rest.iter().zip(node.kind.words().iter().cycle());
    let own = node.kind.refers().then_some(node.last);
    let to = words
        .filter(|(_, word)| **word == Word::Type)
        .map(|(value, _)| *value);
    own.into_iter().chain(to)
}

fn first_of_each(standing: &[u32], classes: &[u32]) -> Vec<u32> {
    let mut firsts: HashMap<u32, u32> = HashMap::new();
    for (at, &class) in classes.iter().enumerate() {
        if standing[at] as usize == at {
            firsts.entry(class).or_insert(at as u32);
        }
    }
    let first = |&at: &u32| {
        let class = classes[at as usize];
        firsts.get(&class).copied().unwrap_or(0)
    };
    standing.iter().map(first).collect()
}
