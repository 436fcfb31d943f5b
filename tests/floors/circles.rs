//! Owns the rule against circles of files. Never reads a file.
//!
//! No file may reach itself through imports. Every `.rs` file is a node, including `mod.rs` and the crate's root. A file
//! imports the file that *defines* a name: re-exports, and names that a child takes from its parent's imports, are followed
//! to their definition. These count as imports:
//!
//! - a `use` of an item of another file, and a path in code such as `super::Part` or `child::run()`;
//! - an `impl` of a parent's type in a child: the child imports its parent.
//!
//! These do not count: `mod child;`, a `use` of a module itself (paths through it count), a `pub use` of a name that the
//! file does not use itself, and test code. A `mod.rs` may declare its children, re-export their names, and build on them;
//! but then no child may import an item of the `mod.rs`. Items for both belong in a third file.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::imports::Crate;
use super::source::Source;

/// A circle of files, with a shortest way around it.
#[derive(Debug, PartialEq, Eq)]
pub struct Circle {
    /// All files of the circle.
    pub files: Vec<String>,
    /// `file:line` of each import on the way.
    pub way: Vec<String>,
}

impl std::fmt::Display for Circle {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let first = self.way.first().and_then(|step| step.split(':').next()).unwrap_or_default();
        write!(out, "{} -> {first}", self.way.join(" -> "))?;
        if self.files.len() > self.way.len() {
            write!(out, "\n    a way around a circle of {} files: {}", self.files.len(), self.files.join(", "))?;
        }
        Ok(())
    }
}

/// The imports of each file, with the line of the first import.
type Imports = Vec<BTreeMap<usize, usize>>;

/// The circles of a crate.
pub fn circles(sources: &[Source]) -> Vec<Circle> {
    let files = Crate::new(sources);
    let imports: Imports = (0..sources.len()).map(|from| files.imports_of(from)).collect();
    let reached: Vec<BTreeSet<usize>> = (0..sources.len()).map(|from| reached_from(&imports, from)).collect();
    let mut done: BTreeSet<usize> = BTreeSet::new();
    let mut found = Vec::new();
    for start in 0..sources.len() {
        if !reached[start].contains(&start) || done.contains(&start) {
            continue;
        }
        let members: Vec<usize> =
            reached[start].iter().copied().filter(|file| reached[*file].contains(&start)).collect();
        done.extend(&members);
        let way = shortest_way(&imports, &members);
        found.push(Circle {
            files: members.iter().map(|file| files.path(*file).to_owned()).collect(),
            way: way.iter().map(|(file, line)| format!("{}:{line}", files.path(*file))).collect(),
        });
    }
    found
}

/// Whether a file is one of these, or in one of these folders.
pub fn is_in(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| path == *place || place.ends_with('/') && path.starts_with(place))
}

fn reached_from(imports: &Imports, from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<usize> = imports[from].keys().copied().collect();
    while let Some(file) = waiting.pop() {
        if reached.insert(file) {
            waiting.extend(imports[file].keys());
        }
    }
    reached
}

/// The shortest way around: each file with the line of the import of the next one.
fn shortest_way(imports: &Imports, members: &[usize]) -> Vec<(usize, usize)> {
    let ways = members.iter().filter_map(|start| way_back(imports, *start));
    let way = ways.min_by_key(Vec::len).unwrap_or_default();
    let next = |at: usize| way[(at + 1) % way.len()];
    way.iter().enumerate().map(|(at, file)| (*file, imports[*file][&next(at)])).collect()
}

/// The files on the shortest way from a file back to itself.
fn way_back(imports: &Imports, start: usize) -> Option<Vec<usize>> {
    let mut came_from: BTreeMap<usize, usize> = BTreeMap::new();
    let mut waiting = VecDeque::from([start]);
    while let Some(file) = waiting.pop_front() {
        for next in imports[file].keys().copied() {
            if next == start {
                let mut way = vec![file];
                while let Some(before) = way.last().and_then(|last| came_from.get(last)) {
                    way.push(*before);
                }
                way.reverse();
                return Some(way);
            }
            if let std::collections::btree_map::Entry::Vacant(unseen) = came_from.entry(next) {
                unseen.insert(file);
                waiting.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
