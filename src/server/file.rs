//! Reads files that an operator names: configuration, certificates, keys. Opens only regular files and never waits for
//! one; reads up to a bound and drops a UTF-8 byte order mark. Never interprets the content.

use std::fmt;
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// The byte order mark that some editors write before UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a file was not read. Completes the sentence "`<path>` …"; holds none of its content.
#[derive(Debug)]
pub enum Unreadable {
    /// The system refused to open or read it.
    Failed(io::Error),
    /// It is no regular file: reading it might block, or have an effect.
    Kind(&'static str),
    /// It is larger than this many bytes.
    Large(usize),
    /// It is not UTF-8.
    NotText,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Failed(error) => write!(f, "cannot be read: {error}"),
            Unreadable::Kind(kind) => write!(f, "is {kind}, not a file"),
            Unreadable::Large(bytes_max) => write!(f, "is larger than {} KiB", bytes_max >> 10),
            Unreadable::NotText => f.write_str("is not UTF-8"),
        }
    }
}

/// The text of a file.
///
/// # Errors
/// It is not a readable regular file of at most `bytes_max` bytes, or not UTF-8.
pub fn read_text(path: impl AsRef<Path>, bytes_max: usize) -> Result<String, Unreadable> {
    text(read(path.as_ref(), bytes_max)?)
}

/// These bytes as text.
///
/// # Errors
/// They are not UTF-8.
pub fn text(bytes: Vec<u8>) -> Result<String, Unreadable> {
    String::from_utf8(without_mark(bytes)).map_err(|_| Unreadable::NotText)
}

fn without_mark(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.starts_with(MARK) {
        bytes.drain(..MARK.len());
    }
    bytes
}

/// The bytes of a PEM file, without byte order marks: each of several concatenated files may have brought one.
///
/// # Errors
/// It is not a readable regular file of at most `bytes_max` bytes.
pub fn read_pem(path: impl AsRef<Path>, bytes_max: usize) -> Result<Vec<u8>, Unreadable> {
    let mut rest = &read(path.as_ref(), bytes_max)?[..];
    let mut pem = Vec::with_capacity(rest.len());
    while let [first, after @ ..] = rest {
        rest = rest.strip_prefix(MARK).unwrap_or_else(|| {
            pem.push(*first);
            after
        });
    }
    Ok(pem)
}

fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, Unreadable> {
    // Checked before it is opened, because opening a device can have an effect, and again once it is open, because another
    // file may have taken its place.
    regular(&fs::metadata(path).map_err(Unreadable::Failed)?)?;
    // Without O_NONBLOCK, opening a pipe waits for its writer.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file: File = opened.map_err(Unreadable::Failed)?;
    regular(&file.metadata().map_err(Unreadable::Failed)?)?;
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(Unreadable::Failed)?;
    if bytes.len() > bytes_max {
        return Err(Unreadable::Large(bytes_max));
    }
    Ok(bytes)
}

fn regular(metadata: &fs::Metadata) -> Result<(), Unreadable> {
    match metadata.file_type() {
        kind if kind.is_file() => Ok(()),
        kind => Err(Unreadable::Kind(kind_text(kind))),
    }
}

fn kind_text(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_dir() => "a directory",
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_MAX: usize = 4 << 10;

    fn sentence(path: impl AsRef<Path>) -> String {
        read_pem(path, BYTES_MAX).expect_err("not readable").to_string()
    }

    #[test]
    fn only_regular_files_are_opened() {
        let folder = tempfile::tempdir().expect("a scratch directory");
        let path = |name: &str| folder.path().join(name);
        let made = std::process::Command::new("mkfifo").arg(path("pipe")).status();
        assert!(made.expect("mkfifo can be started").success());
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).expect("it can be bound");
        std::os::unix::fs::symlink("loop", path("loop")).expect("a link can be made");
        std::os::unix::fs::symlink("pipe", path("link")).expect("a link can be made");
        fs::write(path("file"), "text").expect("writable");
        for (name, words) in [
            ("pipe", "is a pipe, not a file"),
            ("link", "is a pipe, not a file"),
            ("socket", "is a socket, not a file"),
            (".", "is a directory, not a file"),
            ("/dev/zero", "is a device, not a file"),
            ("missing", "cannot be read: No such file or directory (os error 2)"),
            ("file/x", "cannot be read: Not a directory (os error 20)"),
            ("loop", "cannot be read: Too many levels of symbolic links (os error 40)"),
        ] {
            assert_eq!(sentence(path(name)), words, "{name}");
        }
    }

    #[test]
    fn files_are_read_up_to_a_bound() {
        let folder = tempfile::tempdir().expect("a scratch directory");
        let path = folder.path().join("file");
        fs::write(&path, vec![b'a'; BYTES_MAX]).expect("writable");
        assert_eq!(read_text(&path, BYTES_MAX).expect("just within").len(), BYTES_MAX);
        fs::write(&path, vec![b'a'; BYTES_MAX + 1]).expect("writable");
        assert_eq!(sentence(&path), "is larger than 4 KiB");
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        let folder = tempfile::tempdir().expect("a scratch directory");
        let path = folder.path().join("file");
        let text_of = |bytes: &[u8]| {
            fs::write(&path, bytes).expect("writable");
            read_text(&path, BYTES_MAX)
        };
        for (bytes, text) in [
            (&b"\xef\xbb\xbfkey"[..], "key"),
            (b"\xef\xbb\xbf", ""),
            (b"\xef\xbb\xbf\xef\xbb\xbfkey", "\u{feff}key"),
            (b"a\xef\xbb\xbf", "a\u{feff}"),
        ] {
            assert_eq!(text_of(bytes).expect("text"), text);
        }
        assert_eq!(text_of(b"\xff\xfek\0").expect_err("UTF-16").to_string(), "is not UTF-8");
        fs::write(&path, b"\xef\xbb\xbfone\n\xef\xbb\xbftwo\xef\xbb").expect("writable");
        assert_eq!(read_pem(&path, BYTES_MAX).expect("bytes"), b"one\ntwo\xef\xbb");
    }
}
