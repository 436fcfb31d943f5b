//! The disk of a machine: the model that the log's own tests use, and on it, for a canary, syncs that do nothing.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use roomring::store::log::disk::{Disk, DiskFile};
use roomring::store::log::model::{ModelDisk, ModelFile};

/// A directory. A clone is the same directory.
#[derive(Clone, Debug)]
pub struct SimDisk {
    /// What it stands on.
    pub model: ModelDisk,
    /// A defect for the canary: a sync says that it has succeeded and does nothing.
    pub lies: Arc<AtomicBool>,
}

impl SimDisk {
    /// An empty directory.
    pub fn new(seed: u64) -> Self {
        Self { model: ModelDisk::new(seed), lies: Arc::default() }
    }

    fn file(&self, file: ModelFile) -> SimFile {
        SimFile { file, lies: self.lies.clone() }
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn place(&self, name: &str) -> String {
        self.model.place(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.model.list()
    }

    fn create(&self, name: &str, length: u64) -> io::Result<SimFile> {
        Ok(self.file(self.model.create(name, length)?))
    }

    fn open_to_read(&self, name: &str) -> io::Result<SimFile> {
        Ok(self.file(self.model.open_to_read(name)?))
    }

    fn open_to_write(&self, name: &str) -> io::Result<SimFile> {
        Ok(self.file(self.model.open_to_write(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.model.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.model.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.model.sync_directory()
    }
}

/// An open file.
#[derive(Debug)]
pub struct SimFile {
    file: ModelFile,
    lies: Arc<AtomicBool>,
}

impl DiskFile for SimFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&mut self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.file.write_at(parts, offset)
    }

    fn zero(&mut self, offset: u64, length: u64) -> io::Result<()> {
        self.file.zero(offset, length)
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.lies.load(Ordering::Relaxed) { Ok(()) } else { self.file.sync() }
    }
}
