//! The rule against circles of files. Reads no file.
//!
//! No file may reach itself through imports. Every `.rs` file is a node, `mod.rs` and the crate's root like any other.
//! A file imports the file that *defines* a name, wherever the name was taken from: re-exports, and imports that a
//! child takes from its parent, are followed to their end. So these count:
//!
//! - `use` of anything that another file defines, and a path in code such as `super::Part` or `child::run()`;
//! - an `impl` of a parent's type in a child's file: the child imports its parent.
//!
//! These do not: `mod child;`, `use` of a module as such (the paths that go through it count), a `pub use` of a name
//! that the file does not use itself, and test code. A `mod.rs` may therefore declare its children, re-export their
//! names, and build on them; but then no child may import what the `mod.rs` defines. What both need belongs into a file
//! of its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::imports::Crate;
use super::source::Source;

/// Files that are in a circle, and a shortest way round.
#[derive(Debug, PartialEq, Eq)]
pub struct Circle {
    /// All files that reach each other.
    pub files: Vec<String>,
    /// `file:line` of each import on the way.
    pub way: Vec<String>,
}

impl std::fmt::Display for Circle {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let first = self.way.first().and_then(|step| step.split(':').next()).unwrap_or_default();
        write!(out, "{} -> {first}", self.way.join(" -> "))?;
        if self.files.len() > self.way.len() {
            write!(out, "\n    one way round in a circle of {}: {}", self.files.len(), self.files.join(", "))?;
        }
        Ok(())
    }
}

/// The files that each file imports, with the first line that does so.
type Imports = Vec<BTreeMap<usize, usize>>;

/// The circles of one crate's files. An exception is a list of files and folders: what those import from each other is
/// passed over. A folder ends with `/`.
pub fn circles(sources: &[Source], exceptions: &[&[&str]]) -> Vec<Circle> {
    let files = Crate::new(sources);
    let excepted = |from: usize, to: usize| {
        exceptions.iter().any(|places| [from, to].iter().all(|file| is_in(files.path(*file), places)))
    };
    let imports: Imports = (0..sources.len())
        .map(|from| {
            let mut imports = files.imports_of(from);
            imports.retain(|to, _| !excepted(from, *to));
            imports
        })
        .collect();
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

/// The shortest way round: each file with the line that leads to the next one.
fn shortest_way(imports: &Imports, members: &[usize]) -> Vec<(usize, usize)> {
    let ways = members.iter().filter_map(|start| way_back(imports, *start));
    let way = ways.min_by_key(Vec::len).unwrap_or_default();
    let next = |at: usize| way[(at + 1) % way.len()];
    way.iter().enumerate().map(|(at, file)| (*file, imports[*file][&next(at)])).collect()
}

/// The files on the shortest way from a file back to it.
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
