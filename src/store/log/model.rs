//! A directory in memory that keeps what was synced apart from what was only written, and fails where a test says so. Never
//! reads a clock or touches a disk: one seed gives one run.
//!
//! - What is read is what was written last. A [crash](ModelDisk::crash) keeps for each sector of 512 bytes any of its
//!   versions since the last sync, and for each name any of the files it stood for since the last sync of the directory.
//! - A failed sync keeps any subset as well, and takes the rest for written, as Linux does: it can still be read, but a later
//!   sync does not write it. A failed sync of the directory leaves the names unsynced.
//! - A failed write has written any part of its bytes. A failed rename or remove may have happened.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};

use nix::errno::Errno;

use super::disk::{Disk, DiskFile};

const SECTOR: usize = 512;

/// A directory in memory. A clone is the same directory.
#[derive(Clone, Debug)]
pub struct ModelDisk {
    state: Arc<Mutex<State>>,
}

/// Which operations fail, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The operation with this number, from now on, by EIO.
    Once(u64),
    /// The operation with this number, and all after it: the power is gone.
    From(u64),
    /// All that need space, by ENOSPC.
    Full,
    /// All writes, by EROFS.
    ReadOnly,
    /// All syncs, by EIO.
    Syncs,
}

#[derive(Clone, Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    /// What each name has stood for since the directory was synced.
    unsynced_names: BTreeMap<String, Vec<Option<usize>>>,
    failure: Option<Failure>,
    operations: u64,
    random: u64,
    /// Counts crashes: files that were open before one are dead.
    life: u64,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    is_length_synced: bool,
    /// The versions of each sector since the last sync.
    unsynced: BTreeMap<usize, Vec<Vec<u8>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Read,
    Allocate,
    Write,
    Rename,
    Sync,
}

impl ModelDisk {
    /// An empty directory.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: Arc::new(Mutex::new(State { random: seed, ..State::default() })) }
    }

    /// Another directory with the same content and the same future.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { state: Arc::new(Mutex::new(self.state().clone())) }
    }

    /// Sets which operations fail; their numbers begin with 0 now.
    pub fn set_failure(&self, failure: Option<Failure>) {
        let mut state = self.state();
        (state.failure, state.operations) = (failure, 0);
    }

    /// Operations since [`set_failure`](Self::set_failure).
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Loses power and comes back: any subset of what was not synced is there. Ends all failures.
    pub fn crash(&self, seed: u64) {
        let state = &mut *self.state();
        state.random = next(&mut state.random) ^ seed;
        state.failure = None;
        state.life += 1;
        let random = &mut state.random;
        for (name, versions) in std::mem::take(&mut state.unsynced_names) {
            let at = next(random) as usize % (versions.len() + 1);
            match versions.get(at) {
                Some(Some(inode)) => drop(state.synced_names.insert(name, *inode)),
                Some(None) => drop(state.synced_names.remove(&name)),
                None => {}
            }
        }
        state.names = state.synced_names.clone();
        for inode in &mut state.inodes {
            inode.crash(random);
        }
    }

    /// All names.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    /// A file's bytes; empty if there is no such file.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.names.get(name).map_or_else(Vec::new, |inode| state.inodes[*inode].bytes.clone())
    }

    /// Replaces a file's bytes, as durable ones.
    pub fn set_bytes(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.state();
        let inode = Inode { synced: bytes.clone(), bytes, is_length_synced: true, unsynced: BTreeMap::new() };
        state.inodes.push(inode);
        let at = state.inodes.len() - 1;
        state.names.insert(name.to_owned(), at);
        state.synced_names.insert(name.to_owned(), at);
        state.unsynced_names.remove(name);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no operation panics")
    }

    fn open(&self, name: &str) -> io::Result<ModelFile> {
        let mut state = self.state();
        state.begin(Operation::Read)?;
        let inode = *state.names.get(name).ok_or(Errno::ENOENT)?;
        Ok(ModelFile { disk: self.clone(), inode, life: state.life })
    }
}

impl State {
    /// Counts an operation, and fails it if it should fail.
    fn begin(&mut self, operation: Operation) -> Result<(), Errno> {
        let number = self.operations;
        self.operations += 1;
        let needs_writing = operation != Operation::Read;
        match self.failure {
            Some(Failure::Once(at)) if number == at => Err(Errno::EIO),
            Some(Failure::From(at)) if number >= at => Err(Errno::EIO),
            Some(Failure::Full) if matches!(operation, Operation::Allocate | Operation::Write) => Err(Errno::ENOSPC),
            Some(Failure::ReadOnly) if needs_writing => Err(Errno::EROFS),
            Some(Failure::Syncs) if operation == Operation::Sync => Err(Errno::EIO),
            _ => Ok(()),
        }
    }

    /// Whether a failed operation has any effect: none after the power is gone, except on the operation that it cut off.
    fn has_effect(&mut self, error: Errno) -> bool {
        let is_cut_off = match self.failure {
            Some(Failure::From(at)) => self.operations == at + 1,
            _ => true,
        };
        is_cut_off && error != Errno::EROFS
    }

    fn set_name(&mut self, name: &str, inode: Option<usize>) {
        match inode {
            Some(inode) => drop(self.names.insert(name.to_owned(), inode)),
            None => drop(self.names.remove(name)),
        }
        self.unsynced_names.entry(name.to_owned()).or_default().push(inode);
    }

    fn coin(&mut self) -> bool {
        next(&mut self.random).is_multiple_of(2)
    }
}

impl Inode {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if bytes.is_empty() {
            return;
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
            self.synced.resize(end, 0);
            self.is_length_synced = false;
        }
        self.bytes[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR..=(end - 1) / SECTOR {
            let start = sector * SECTOR;
            let version = self.bytes[start..self.bytes.len().min(start + SECTOR)].to_vec();
            self.unsynced.entry(sector).or_default().push(version);
        }
    }

    fn sync(&mut self) {
        for (sector, mut versions) in std::mem::take(&mut self.unsynced) {
            let newest = versions.pop().expect("a sector in the list was written");
            self.keep(sector, &newest);
        }
        self.is_length_synced = true;
    }

    /// Keeps any version of each sector.
    fn sync_in_part(&mut self, random: &mut u64) {
        for (sector, versions) in std::mem::take(&mut self.unsynced) {
            if let Some(version) = versions.get(next(random) as usize % (versions.len() + 1)) {
                self.keep(sector, version);
            }
        }
    }

    fn keep(&mut self, sector: usize, version: &[u8]) {
        let start = sector * SECTOR;
        self.synced[start..start + version.len()].copy_from_slice(version);
    }

    fn crash(&mut self, random: &mut u64) {
        self.sync_in_part(random);
        if !self.is_length_synced {
            let length = match next(random) % 3 {
                0 => 0,
                1 => self.synced.len(),
                _ => next(random) as usize % (self.synced.len() + 1),
            };
            self.synced.truncate(length);
            self.is_length_synced = true;
        }
        self.bytes.clone_from(&self.synced);
    }
}

impl Disk for ModelDisk {
    type File = ModelFile;

    fn place(&self, name: &str) -> String {
        format!("model/{name}")
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.begin(Operation::Read)?;
        Ok(state.names.keys().cloned().collect())
    }

    fn create(&self, name: &str, length: u64) -> io::Result<ModelFile> {
        let mut state = self.state();
        let result = state.begin(Operation::Allocate);
        if let Err(error) = result
            && (!state.has_effect(error) || state.coin())
        {
            return Err(error.into());
        }
        let length = usize::try_from(length).map_err(|_| Errno::EFBIG)?;
        let length = if result.is_ok() { length } else { next(&mut state.random) as usize % (length + 1) };
        state.inodes.push(Inode { bytes: vec![0; length], synced: vec![0; length], ..Inode::default() });
        let inode = state.inodes.len() - 1;
        state.set_name(name, Some(inode));
        result?;
        Ok(ModelFile { disk: self.clone(), inode, life: state.life })
    }

    fn open_to_read(&self, name: &str) -> io::Result<ModelFile> {
        self.open(name)
    }

    fn open_to_write(&self, name: &str) -> io::Result<ModelFile> {
        self.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let result = state.begin(Operation::Rename);
        if let Err(error) = result
            && (!state.has_effect(error) || state.coin())
        {
            return Err(error.into());
        }
        let inode = *state.names.get(from).ok_or(Errno::ENOENT)?;
        state.set_name(from, None);
        state.set_name(to, Some(inode));
        Ok(result?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let result = state.begin(Operation::Rename);
        if let Err(error) = result
            && (!state.has_effect(error) || state.coin())
        {
            return Err(error.into());
        }
        if !state.names.contains_key(name) {
            return Err(Errno::ENOENT.into());
        }
        state.set_name(name, None);
        Ok(result?)
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Operation::Sync)?;
        state.synced_names = state.names.clone();
        state.unsynced_names.clear();
        Ok(())
    }
}

/// An open file of a [`ModelDisk`].
#[derive(Debug)]
pub struct ModelFile {
    disk: ModelDisk,
    inode: usize,
    life: u64,
}

impl ModelFile {
    /// Does something with the file, unless the process that opened it is gone.
    fn with<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.state();
        if state.life != self.life {
            return Err(Errno::EBADF.into());
        }
        act(&mut state)
    }

    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(|_| Errno::EFBIG)?;
        self.with(|state| {
            let result = state.begin(Operation::Write);
            let written = match result {
                Ok(()) => bytes.len(),
                Err(error) if state.has_effect(error) => next(&mut state.random) as usize % (bytes.len() + 1),
                Err(_) => 0,
            };
            state.inodes[self.inode].write(&bytes[..written], offset);
            Ok(result?)
        })
    }
}

impl DiskFile for ModelFile {
    fn length(&self) -> io::Result<u64> {
        self.with(|state| {
            state.begin(Operation::Read)?;
            Ok(state.inodes[self.inode].bytes.len() as u64)
        })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(|_| Errno::EFBIG)?;
        self.with(|state| {
            state.begin(Operation::Read)?;
            let bytes = state.inodes[self.inode].bytes.get(offset..offset + buffer.len());
            buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_at(&mut self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        let parts: Vec<&[u8]> = parts.iter().map(|part| &**part).collect();
        self.write(&parts.concat(), offset)
    }

    fn zero(&mut self, offset: u64, length: u64) -> io::Result<()> {
        self.write(&vec![0; usize::try_from(length).map_err(|_| Errno::EFBIG)?], offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.with(|state| {
            let result = state.begin(Operation::Sync);
            match result {
                Ok(()) => state.inodes[self.inode].sync(),
                Err(error) if state.has_effect(error) => {
                    let State { inodes, random, .. } = state;
                    inodes[self.inode].sync_in_part(random);
                }
                Err(_) => {}
            }
            Ok(result?)
        })
    }
}

/// SplitMix64.
fn next(random: &mut u64) -> u64 {
    *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *random;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests;
