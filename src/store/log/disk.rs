//! What the log needs of a directory and its files. Only the traits; `real` and `model` implement them.

use std::io::{self, IoSlice};

/// A directory.
pub trait Disk {
    /// A file of it.
    type File: DiskFile;

    /// Where a file stands, for errors.
    fn place(&self, name: &str) -> String;

    /// The names in the directory, in any order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file of `length` zeros with its blocks allocated. A file that had the name loses it and is not changed.
    fn create(&self, name: &str, length: u64) -> io::Result<Self::File>;

    /// Opens a file that is only read.
    fn open_to_read(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file that is read and written.
    fn open_to_write(&self, name: &str) -> io::Result<Self::File>;

    /// Gives a file another name; a file that had it loses it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all names durable.
    fn sync_directory(&self) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile {
    /// Its length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Fills the buffer from `offset`; an error if the file ends before.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all parts, one after the other, from `offset`: in one call of the kernel where that takes them. The slices may
    /// be used up.
    fn write_at(&mut self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// Writes zeros.
    fn zero(&mut self, offset: u64, length: u64) -> io::Result<()>;

    /// Makes the file's bytes durable, and its length if that has changed (`fdatasync`).
    fn sync(&mut self) -> io::Result<()>;
}
