//! Owns the imports of files: resolves `use` trees and paths in code to the file that defines each name, through
//! re-exports. Never judges.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, Token, is_word};

/// The names of one file, without tests.
struct File {
    /// Path relative to the package, with `/`.
    path: String,
    module: Vec<String>,
    /// Declared modules.
    children: BTreeSet<String>,
    /// Defined types, functions, constants and macros.
    defined: BTreeSet<String>,
    uses: Vec<Use>,
    /// Paths outside of `use`, with their lines.
    inline: Vec<(Vec<String>, usize)>,
    /// Words outside of `use`.
    words: BTreeSet<String>,
}

/// One name of a `use` tree.
struct Use {
    /// The path as written, including `crate`, `self` or `super`.
    path: Vec<String>,
    /// The name in this file; `*` for all names of a module.
    name: String,
    public: bool,
    line: usize,
}

/// Maximum imports from a name to its definition; a longer chain is endless.
const FOLLOWED_MAX: usize = 16;

/// The target of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A module itself.
    Module(usize),
    /// An item of this file.
    Item(usize),
}

/// The files of one crate.
pub struct Crate {
    files: Vec<File>,
    by_module: BTreeMap<Vec<String>, usize>,
}

impl File {
    fn new(source: &Source) -> Self {
        let code = source.without_tests();
        let tokens = code.tokens();
        let mut file = File {
            path: source.path.clone(),
            module: source.module().iter().map(ToString::to_string).collect(),
            children: BTreeSet::new(),
            defined: BTreeSet::new(),
            uses: Vec::new(),
            inline: Vec::new(),
            words: BTreeSet::new(),
        };
        let text = |at: usize| tokens.get(at).map_or("", |token: &Token<'_>| token.text);
        let mut at = 0;
        while at < tokens.len() {
            let word = text(at);
            // `use<'a>` in a bound is no import.
            if word == "use" && text(at + 1) != "<" {
                let public = at > 0 && matches!(text(at - 1), "pub" | ")");
                at = file.take_use(&tokens, at + 1, &[], public);
                continue;
            }
            if word == "mod" && text(at + 2) == ";" {
                file.children.insert(text(at + 1).to_owned());
            }
            if matches!(word, "struct" | "enum" | "union" | "trait" | "fn" | "const" | "static" | "type" | "mod") {
                file.defined.insert(text(at + 1).to_owned());
            }
            if word == "macro_rules" {
                file.defined.insert(text(at + 2).to_owned());
            }
            if is_word(word) {
                let begins = at == 0 || text(at - 1) != "::";
                file.words.insert(word.to_owned());
                if begins && text(at + 1) == "::" {
                    file.inline.push((path_at(&tokens, at), tokens[at].line));
                }
            }
            at += 1;
        }
        file
    }

    /// Reads a `use` tree. Returns its end.
    fn take_use(&mut self, tokens: &[Token<'_>], mut at: usize, before: &[String], public: bool) -> usize {
        let text = |at: usize| tokens.get(at).map_or("", |token: &Token<'_>| token.text);
        let line = tokens.get(at).map_or(0, |token| token.line);
        let mut path = before.to_vec();
        if text(at) == "::" {
            // A path to another crate: no name of this crate starts like that.
            path.push(String::new());
            at += 1;
        }
        loop {
            match text(at) {
                "{" => {
                    at += 1;
                    while !matches!(text(at), "}" | "") {
                        let from = at;
                        at = self.take_use(tokens, at, &path, public);
                        at += usize::from(at == from || text(at) == ",");
                    }
                    return at + 1;
                }
                "*" => {
                    self.uses.push(Use { path, name: "*".to_owned(), public, line });
                    return at + 1;
                }
                // `{self, …}` is the module itself.
                "self" if !path.is_empty() => at += 1,
                word if is_word(word) => {
                    path.push(word.to_owned());
                    at += 1;
                }
                _ => break,
            }
            if text(at) != "::" {
                break;
            }
            at += 1;
        }
        let mut name = path.last().cloned().unwrap_or_default();
        if text(at) == "as" {
            name = text(at + 1).to_owned();
            at += 2;
        }
        self.uses.push(Use { path, name, public, line });
        at
    }
}

fn path_at(tokens: &[Token<'_>], mut at: usize) -> Vec<String> {
    let mut path = vec![tokens[at].text.to_owned()];
    while tokens.get(at + 1).is_some_and(|token| token.text == "::") {
        match tokens.get(at + 2) {
            Some(token) if is_word(token.text) => path.push(token.text.to_owned()),
            _ => break,
        }
        at += 2;
    }
    path
}

impl Crate {
    pub fn new(sources: &[Source]) -> Self {
        let files: Vec<File> = sources.iter().map(File::new).collect();
        let mut by_module = BTreeMap::new();
        for (index, file) in files.iter().enumerate() {
            // A program beside a library is its own crate, which imports the library by name.
            let is_program = file.path == "src/main.rs" && files.iter().any(|other| other.path == "src/lib.rs");
            if !is_program {
                by_module.insert(file.module.clone(), index);
            }
        }
        Self { files, by_module }
    }

    /// The path of a file, by its index in the sources.
    pub fn path(&self, file: usize) -> &str {
        &self.files[file].path
    }

    /// The files that `from` imports, each with the line of the first import.
    pub fn imports_of(&self, from: usize) -> BTreeMap<usize, usize> {
        let file = &self.files[from];
        let mut found: BTreeMap<usize, usize> = BTreeMap::new();
        let mut add = |place: Option<Place>, line: usize, all: bool| {
            let to = match place {
                Some(Place::Item(to)) => to,
                Some(Place::Module(to)) if all => to,
                _ => return,
            };
            if to != from {
                found.entry(to).and_modify(|first| *first = line.min(*first)).or_insert(line);
            }
        };
        for one in &file.uses {
            // A re-export that the file does not use itself is no import.
            let passed_on = one.public && !file.words.contains(&one.name);
            if !passed_on {
                add(self.place(from, &one.path, 0), one.line, one.name == "*");
            }
        }
        for (path, line) in &file.inline {
            add(self.place(from, path, 0), *line, false);
        }
        found
    }

    /// Where a path leads that is written in a file; `None` outside of the crate. `followed` counts the imports on the
    /// way.
    fn place(&self, from: usize, path: &[String], followed: usize) -> Option<Place> {
        let file = &self.files[from];
        let (first, mut rest) = path.split_first()?;
        let mut base = match first.as_str() {
            "crate" => Vec::new(),
            "self" => file.module.clone(),
            "super" => file.module[..file.module.len().checked_sub(1)?].to_vec(),
            child if file.children.contains(child) => [&file.module[..], &path[..1]].concat(),
            name => return self.imported(from, name, rest, followed),
        };
        while let Some((_, after)) = rest.split_first().filter(|(word, _)| *word == "super") {
            base.pop()?;
            rest = after;
        }
        self.find_from_root(&[&base, rest].concat(), followed)
    }

    /// Where a path leads whose first segment is a name that the file imports.
    fn imported(&self, from: usize, name: &str, rest: &[String], followed: usize) -> Option<Place> {
        let found = self.files[from].uses.iter().find(|one| one.name == name)?;
        // `use name::name` belongs to another crate.
        if followed == FOLLOWED_MAX || found.path.first().is_some_and(|first| first == name) {
            return None;
        }
        self.place(from, &[&found.path, rest].concat(), followed + 1)
    }

    /// Where a path from the crate's root leads.
    fn find_from_root(&self, path: &[String], followed: usize) -> Option<Place> {
        let length = (0..=path.len()).rev().find(|end| self.by_module.contains_key(&path[..*end]))?;
        let index = self.by_module[&path[..length]];
        let Some(name) = path.get(length) else { return Some(Place::Module(index)) };
        let file = &self.files[index];
        if file.defined.contains(name) || followed == FOLLOWED_MAX {
            return Some(Place::Item(index));
        }
        if file.uses.iter().any(|one| one.name == *name) {
            return self.imported(index, name, &path[length + 1..], followed);
        }
        let defines = |one: &&Use| match self.place(index, &one.path, followed + 1) {
            Some(Place::Module(module)) if self.files[module].defined.contains(name) => Some(Place::Item(module)),
            _ => None,
        };
        let globs = file.uses.iter().filter(|one| one.name == "*");
        globs.filter_map(|one| defines(&one)).next().or(Some(Place::Item(index)))
    }
}
