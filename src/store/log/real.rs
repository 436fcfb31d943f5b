//! The log's directory on a file system. Never interprets what it reads or writes.

use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::posix_fallocate;
use nix::libc::off_t;
use nix::sys::uio::pwritev;

use super::disk::{Disk, DiskFile};

/// Zeros written by one call.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Most parts that the kernel takes in one call (`IOV_MAX`).
const PARTS_MAX: usize = 1_024;

/// Rooms' messages are nobody else's business on this machine.
const MODE: u32 = 0o600;

/// A directory.
#[derive(Clone, Debug)]
pub struct RealDisk {
    path: PathBuf,
}

impl RealDisk {
    /// The directory must exist by the time it is used.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }
}

impl Disk for RealDisk {
    type File = RealFile;

    fn place(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // The log's own names are ASCII, so a name that is not UTF-8 belongs to another program.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create(&self, name: &str, length: u64) -> io::Result<RealFile> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = File::options().read(true).write(true).create_new(true).mode(MODE).open(&path)?;
        if let Err(error) = allocate(&file, length) {
            // What was allocated of it would only make a full disk fuller.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(RealFile { file })
    }

    fn open_to_read(&self, name: &str) -> io::Result<RealFile> {
        Ok(RealFile { file: File::open(self.path.join(name))? })
    }

    fn open_to_write(&self, name: &str) -> io::Result<RealFile> {
        Ok(RealFile { file: File::options().read(true).write(true).open(self.path.join(name))? })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        sync_directory(&self.path)
    }
}

/// Makes the names in a directory durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn allocate(file: &File, length: u64) -> io::Result<()> {
    let length = offset(length)?;
    loop {
        match posix_fallocate(file, 0, length) {
            Err(Errno::EINTR) => {}
            result => return Ok(result?),
        }
    }
}

/// An open file.
#[derive(Debug)]
pub struct RealFile {
    file: File,
}

impl DiskFile for RealFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_at(&mut self, parts: &mut [IoSlice<'_>], mut at: u64) -> io::Result<()> {
        let mut rest = parts;
        // Empty parts at the front would look like a write that wrote nothing.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let now = &rest[..rest.len().min(PARTS_MAX)];
            match pwritev(&self.file, now, offset(at)?) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    at += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn zero(&mut self, offset: u64, length: u64) -> io::Result<()> {
        let mut at = offset;
        let end = offset + length;
        while at < end {
            let now = ZEROS.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            self.file.write_all_at(&ZEROS[..now], at)?;
            at += now as u64;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn offset(at: u64) -> io::Result<off_t> {
    off_t::try_from(at).map_err(|_| Errno::EFBIG.into())
}
