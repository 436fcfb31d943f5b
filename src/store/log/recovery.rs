//! Makes the newest segment fit to be appended to. Called only for a log without faults; never touches another segment.

use std::io::IoSlice;

use super::disk::{Disk, DiskFile};
use super::error::LogError;
use super::format::{HEAD_BYTES, HEADER_BYTES, Head, Kind, SPARE, file_name};
use super::reader::SegmentReader;
use super::survey::Surveyed;

/// Removes a torn tail, and makes the last group durable. Returns the file and the end of its last record. May be cut off at
/// any point and done again.
pub fn repair<D: Disk>(disk: &D, newest: &Surveyed) -> Result<(D::File, u64), LogError> {
    let name = file_name(newest.header.first);
    let place = disk.place(&name);
    let mut file = disk.open_to_write(&name).map_err(LogError::io("open", place.clone()))?;
    if let Some(tail) = newest.tail {
        file.zero(tail.offset, tail.bytes).map_err(LogError::io("remove the torn tail of", place.clone()))?;
        file.sync().map_err(LogError::io("sync", place))?;
    }
    let end = match newest.last_group {
        Some(last_group) => write_again(disk, newest, last_group, &mut file)?,
        None => newest.end,
    };
    Ok((file, end))
}

/// Writes the last group once more, and then a mark behind it. The process that wrote them may have been killed after a
/// failed sync: then they stand in the page cache only, and the kernel takes them for written.
fn write_again<D: Disk>(disk: &D, newest: &Surveyed, at: u64, file: &mut D::File) -> Result<u64, LogError> {
    let Surveyed { header, end, last, is_marked, .. } = *newest;
    let place = || disk.place(&file_name(header.first));
    let mark_at = if is_marked { end - HEAD_BYTES as u64 } else { end };
    // A mark was written after its group was durable. Without one the group goes by itself: a mark behind a group that a
    // crash has torn would be damage.
    if !is_marked {
        let group = SegmentReader::open(disk, header.first)?.copy(at, end)?;
        file.write_at(&mut [IoSlice::new(&group)], at).map_err(LogError::io("write", place()))?;
        file.sync().map_err(LogError::io("sync", place()))?;
    }
    let mark_end = mark_at + HEAD_BYTES as u64;
    if mark_end > header.length {
        return Ok(end);
    }
    let mark = Head::bare(Kind::Mark, last, header.salt).encode(header.salt);
    file.write_at(&mut [IoSlice::new(&mark)], mark_at).map_err(LogError::io("write", place()))?;
    file.sync().map_err(LogError::io("sync", place()))?;
    Ok(mark_end)
}

/// Removes a next segment that was made and not used. Done again at the next start if a crash brings it back.
pub fn remove_spare(disk: &impl Disk) -> Result<(), LogError> {
    disk.remove(SPARE).map_err(LogError::io("remove", disk.place(SPARE)))
}

const _: () = assert!(HEADER_BYTES.is_multiple_of(4_096), "a group never shares a page with the header");
