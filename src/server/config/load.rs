//! Layers the sources: defaults, file, environment, command line. Finds every value that cannot be read; whether values
//! fit together, `check` decides.

use std::ffi::OsString;
use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::classes;
use super::config_file::{self, ConfigFile};
use super::effective::Config;
use super::key::ENV_PREFIX;
use super::keys::{self, KEYS};
use super::nearest;
use super::origin::{Mistake, Origin};
use super::quote::quoted;
use super::raw::{Raw, raw_of, trimmed};
use super::read::{in_order, printable, read_value};
use super::services;
use super::setting::Setting;
use crate::server::file;

/// Bytes of a configuration file.
const FILE_BYTES_MAX: usize = 4 << 20;

/// The sources, as values, so that reading can be repeated and tested.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// Without `--config` the first of these that exists is read.
    pub candidates: Vec<PathBuf>,
    /// The environment; variables without the prefix `ROOMRING_` are ignored.
    pub env: Vec<(OsString, OsString)>,
    /// Each `--set`, as typed.
    pub sets: Vec<String>,
}

impl Sources {
    /// The sources of this process.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, sets: Vec<String>) -> Self {
        let candidates = vec![PathBuf::from("roomring.toml"), PathBuf::from("/etc/roomring/roomring.toml")];
        Self { file, candidates, env: std::env::vars_os().collect(), sets }
    }
}

/// Reads all sources. A value that cannot be read leaves the value of the source before it.
#[must_use]
pub fn load(sources: &Sources) -> (Config, Vec<Mistake>) {
    let mut loading = Loading { config: Config::default(), mistakes: Vec::new() };
    loading.file(sources);
    let mut env: Vec<_> = sources.env.iter().collect();
    env.sort();
    for (name, value) in env {
        loading.variable(name, value);
    }
    for set in &sources.sets {
        loading.set(set);
    }
    (loading.config, loading.mistakes)
}

/// Line numbers of byte offsets in one file.
struct LineNumbers<'a> {
    path: &'a str,
    text: &'a str,
}

impl LineNumbers<'_> {
    /// The place of this byte.
    fn origin(&self, offset: usize) -> Origin {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        Origin::File { path: self.path.to_owned(), line: 1 + before.iter().filter(|byte| **byte == b'\n').count() }
    }
}

struct Loading {
    config: Config,
    mistakes: Vec<Mistake>,
}

impl Loading {
    fn wrong(&mut self, origin: &Origin, key: impl Into<String>, text: impl Into<String>) {
        self.mistakes.push(Mistake::unreadable(origin, key, text));
    }

    fn file(&mut self, sources: &Sources) {
        let found = match &sources.file {
            Some(path) => Ok(Some(path)),
            None => config_file::first(&sources.candidates),
        };
        let path = match found {
            Ok(Some(path)) => path,
            Ok(None) => return,
            Err((path, why)) => {
                let shown = config_file::shown(path);
                let text = format!(
                    "the configuration file {shown} {why}; make it accessible, or name another file with --config"
                );
                return self.wrong(&Origin::Default, "", text);
            }
        };
        let shown = config_file::shown(path);
        match file::read_text(path, FILE_BYTES_MAX) {
            Ok(text) => {
                self.document(&LineNumbers { path: &shown, text: &text });
                self.config.file = Some(ConfigFile { path: path.clone(), is_empty: text.trim().is_empty() });
            }
            Err(why) => self.wrong(&Origin::Default, "", format!("the configuration file {shown} {why}")),
        }
    }

    fn document(&mut self, lines: &LineNumbers<'_>) {
        let (document, errors) = DeTable::parse_recoverable(lines.text);
        if !errors.is_empty() {
            // A broken document gives no ground for further mistakes.
            for error in errors {
                let span = error.span().unwrap_or(0..0);
                let text = not_toml(error.message(), lines.text, span.clone());
                self.wrong(&lines.origin(span.start), "", text);
            }
            return;
        }
        for (section, value) in in_order(document.get_ref()) {
            let origin = lines.origin(section.span().start);
            let name = section.get_ref().as_ref();
            match value.get_ref() {
                DeValue::Table(table) if keys::sections().any(|known| known == name) => {
                    self.table(name, table, lines);
                }
                DeValue::Table(_) => {
                    let nearest = nearest::nearest_section(name);
                    self.wrong(
                        &origin,
                        "",
                        format!("unknown section [{}]; did you mean [{nearest}]?", printable(name)),
                    );
                }
                _ if keys::sections().any(|known| known == name) => {
                    self.wrong(
                        &origin,
                        name,
                        format!("this is a section, not a key; write [{name}] with its keys below it"),
                    );
                }
                _ => {
                    let nearest = nearest::nearest_key("", name);
                    self.wrong(&origin, printable(name), unknown_key(&nearest));
                }
            }
        }
    }

    fn table(&mut self, section: &str, table: &DeTable<'_>, lines: &LineNumbers<'_>) {
        for (name, value) in in_order(table) {
            let origin = lines.origin(name.span().start);
            if (section, name.get_ref().as_ref()) == ("rooms", "class") {
                self.classes(value, &|offset| lines.origin(offset), &origin);
            } else {
                self.assign(section, name.get_ref(), &raw_of(value.get_ref()), &origin);
            }
        }
    }

    fn classes(&mut self, value: &Spanned<DeValue<'_>>, origin_of: &dyn Fn(usize) -> Origin, origin: &Origin) {
        let (classes, mistakes) = classes::read(value, origin_of, origin);
        self.config.classes = classes;
        self.mistakes.extend(mistakes);
    }

    fn assign(&mut self, section: &str, name: &str, raw: &Raw, origin: &Origin) {
        let Some(index) = keys::find(section, name) else {
            let nearest = nearest::nearest_key(section, name);
            return self.wrong(origin, printable(&format!("{section}.{name}")), unknown_key(&nearest));
        };
        match read_value(&KEYS[index], raw) {
            Ok(value) => self.config.set(index, Setting { value, origin: origin.clone() }),
            Err(text) => self.wrong(origin, KEYS[index].path(), text),
        }
    }

    /// A key that is set outside of a file, with its text.
    fn assign_word(&mut self, section: &str, name: &str, word: &str, origin: &Origin) {
        if (section, name) != ("rooms", "class") {
            return self.assign(section, name, &Raw::Word(word.to_owned()), origin);
        }
        match DeValue::parse(trimmed(word)) {
            Ok(value) => self.classes(&value, &|_| origin.clone(), origin),
            Err(error) => {
                let (shown, why) = (Raw::Word(word.to_owned()).shown(), error.message().replace('\n', ", "));
                let text = format!("{shown} is invalid TOML ({why}); it must be {}", classes::EXPECTED);
                self.wrong(origin, "rooms.class", text);
            }
        }
    }

    fn variable(&mut self, name: &OsString, value: &OsString) {
        let name = name.to_string_lossy();
        let Some(rest) = name.strip_prefix(ENV_PREFIX) else { return };
        let known = KEYS.iter().find(|key| key.env_name() == name).map(|key| (key.section, key.name));
        let known = known.or((name == "ROOMRING_ROOMS__CLASS").then_some(("rooms", "class")));
        let names_section = rest
            .split_once("__")
            .is_some_and(|(section, _)| keys::sections().any(|known| known.eq_ignore_ascii_case(section)));
        if known.is_none() && !names_section && services::is_of_service(&name, &value.to_string_lossy()) {
            return;
        }
        let origin = Origin::Env(printable(&name));
        match (known, value.to_str()) {
            (Some((section, name)), Some(value)) => self.assign_word(section, name, value, &origin),
            (Some(_), None) => self.wrong(&origin, "", "the value is not UTF-8; it must be text"),
            (None, _) => {
                let (variable, key) = nearest::nearest_env(&name);
                self.wrong(&origin, "", format!("unknown variable; did you mean {variable} ({key})?"));
            }
        }
    }

    fn set(&mut self, set: &str) {
        let Some((path, word)) = set.split_once('=') else {
            let text = format!("expected SECTION.KEY=VALUE, such as server.cores=2; got {}", quoted(set));
            return self.wrong(&Origin::Set, "", text);
        };
        match path.trim().split_once('.') {
            Some((section, name)) => self.assign_word(section, name, word, &Origin::Set),
            None => {
                let nearest = nearest::nearest_key("", path.trim());
                self.wrong(&Origin::Set, printable(path), unknown_key(&nearest));
            }
        }
    }
}

fn unknown_key(nearest: &str) -> String {
    format!("unknown key; did you mean {nearest}?")
}

/// The sentence for a document that is no TOML, with the line at fault.
fn not_toml(why: &str, text: &str, span: Range<usize>) -> String {
    let start = text[..span.start].rfind('\n').map_or(0, |before| before + 1);
    match (why, text[start..].lines().next().unwrap_or_default()) {
        ("duplicate key", _) => {
            let key = printable(text[span].trim_matches(['"', '\'']));
            format!("invalid TOML: duplicate key {key:?}; write it once")
        }
        (why, "") => format!("invalid TOML: {why}"),
        (why, line) => format!("invalid TOML: {why}; got {}", quoted(line)),
    }
    .replace('\n', ", ")
}
