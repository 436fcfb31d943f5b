//! The files of a host, below `/` or the directory of a test. Everything that the doctor reads goes through it. Changes and
//! judges nothing.

use std::fs;
use std::path::{Path, PathBuf};

/// The files of a host. A file that is missing or unreadable is `None`.
#[derive(Clone, Debug)]
pub struct HostFiles {
    root: PathBuf,
}

impl HostFiles {
    /// This host.
    #[must_use]
    pub fn here() -> Self {
        Self::at(Path::new("/"))
    }

    /// A host whose `/proc`, `/sys` and `/etc` are below `root`.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// A file, without the white space around it.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<String> {
        let bytes = fs::read(self.root.join(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// A file that holds one number.
    #[must_use]
    pub fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    /// A sysctl by its name, its values with one space between them.
    #[must_use]
    pub fn sysctl(&self, name: &str) -> Option<String> {
        let text = self.text(&format!("proc/sys/{}", name.replace('.', "/")))?;
        Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// The numbers of a sysctl.
    #[must_use]
    pub fn sysctl_numbers(&self, name: &str) -> Option<Vec<u64>> {
        self.sysctl(name)?.split(' ').map(|number| number.parse().ok()).collect()
    }

    /// A file that holds a list of CPUs or nodes; empty if it is missing.
    #[must_use]
    pub fn cpus(&self, path: &str) -> Vec<usize> {
        self.text(path).map_or_else(Vec::new, |text| parse_list(&text))
    }

    /// The names in a directory, sorted.
    #[must_use]
    pub fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root.join(path)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort_by_key(|name| (name.len(), name.clone()));
        names
    }

    /// Whether the file or directory exists.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// The target of a symbolic link.
    #[must_use]
    pub fn link(&self, path: &str) -> Option<String> {
        Some(fs::read_link(self.root.join(path)).ok()?.to_string_lossy().into_owned())
    }

    /// The text behind `name` in a file of lines such as `Name:  12 kB`.
    #[must_use]
    pub fn field(&self, path: &str, name: &str) -> Option<String> {
        let text = self.text(path)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().to_owned())
    }

    /// The soft and the hard limit of this process; `u64::MAX` is unlimited.
    #[must_use]
    pub fn limit(&self, name: &str) -> Option<(u64, u64)> {
        let text = self.text("proc/self/limits")?;
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        let mut values = rest.split_whitespace().map(|value| match value {
            "unlimited" => Some(u64::MAX),
            number => number.parse().ok(),
        });
        Some((values.next()??, values.next()??))
    }

    /// The control groups of this process in the unified hierarchy, its own first, then its ancestors', as paths.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        let text = self.text("proc/self/cgroup").unwrap_or_default();
        let Some(path) = text.lines().find_map(|line| line.strip_prefix("0::")) else { return Vec::new() };
        let group: PathBuf = path.split('/').filter(|part| !part.is_empty() && *part != "..").collect();
        let groups = group.ancestors().map(|group| format!("sys/fs/cgroup/{}", group.display()));
        groups.map(|path| path.trim_end_matches('/').to_owned()).collect()
    }
}

/// `0-3,8` as numbers; parts that are no range are left out.
#[must_use]
pub fn parse_list(text: &str) -> Vec<usize> {
    let mut numbers = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>())
            && last < 65_536
        {
            numbers.extend(first..=last);
        }
    }
    numbers
}

/// Ascending numbers as `0-3,8`; an empty list as `none`.
#[must_use]
pub fn list_text(numbers: &[usize]) -> String {
    let runs = numbers.chunk_by(|a, b| *b == a + 1).map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        _ => run[0].to_string(),
    });
    let text = runs.collect::<Vec<_>>().join(",");
    if text.is_empty() { "none".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_there_and_back() {
        assert_eq!(parse_list("0-3,8\n"), [0, 1, 2, 3, 8]);
        assert_eq!(parse_list(""), Vec::<usize>::new());
        assert_eq!(parse_list("(null)"), Vec::<usize>::new());
        assert_eq!(parse_list("0-99999999999"), Vec::<usize>::new());
        assert_eq!(list_text(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
        assert_eq!(list_text(&[]), "none");
    }
}
