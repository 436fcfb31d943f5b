//! `roomring store export` and `roomring store import`: the files and streams that they read and write.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::command::StoreOutcome;
use crate::base::ids::RoomName;
use crate::server::config::lower::Plan;
use crate::server::store_rules::rules;
use crate::store::transfer::error::TransferError;
use crate::store::transfer::export::{Exported, export};
use crate::store::transfer::import::{Imported, import};

/// Password hashes are nobody else's business on this machine.
const MODE: u32 = 0o600;

pub(super) fn run_export(plan: &Plan, rooms: &[String], file: Option<&Path>) -> StoreOutcome {
    let mut names = Vec::with_capacity(rooms.len());
    for room in rooms {
        match RoomName::new(room) {
            Ok(name) => names.push(name),
            Err(error) => return StoreOutcome::Refused(format!("--room: {room:?} {error}")),
        }
    }
    let Some(file) = file else {
        let mut output = BufWriter::new(io::stdout().lock());
        return match export(&plan.store.path, &rules(plan), &names, &mut output) {
            Ok(_) => StoreOutcome::Written,
            Err(error) => failed(&error),
        };
    };
    match write_file(plan, &names, file) {
        Ok(Ok(Exported { rooms, messages, accounts, dead_letters })) => {
            StoreOutcome::Done(format!("exported {}", counts(rooms, messages, accounts, dead_letters)))
        }
        Ok(Err(error)) => failed(&error),
        Err(error) => StoreOutcome::Failed(format!("cannot write {}: {error}", file.display())),
    }
}

/// The file has its name only once it is whole.
fn write_file(plan: &Plan, rooms: &[RoomName], file: &Path) -> io::Result<Result<Exported, TransferError>> {
    if file.exists() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it exists already; name a new file"));
    }
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(".partial");
    let unfinished = PathBuf::from(unfinished);
    let created = File::options().write(true).create(true).truncate(true).mode(MODE).open(&unfinished)?;
    let mut output = BufWriter::new(created);
    let exported = export(&plan.store.path, &rules(plan), rooms, &mut output);
    if exported.is_err() {
        fs::remove_file(&unfinished)?;
        return Ok(exported);
    }
    output.flush()?;
    output.get_ref().sync_all()?;
    fs::rename(&unfinished, file)?;
    Ok(exported)
}

pub(super) fn run_import(plan: &Plan, new_epochs: bool, file: Option<&Path>) -> StoreOutcome {
    let opened = match file {
        Some(file) => File::open(file).map_err(|error| format!("cannot read {}: {error}", file.display())),
        None => spool().map_err(|error| format!("cannot read standard input: {error}")),
    };
    let mut input = match opened {
        Ok(file) => BufReader::new(file),
        Err(sentence) => return StoreOutcome::Failed(sentence),
    };
    match import(&plan.store.path, &rules(plan), new_epochs, &mut input) {
        Ok(Imported { rooms, messages, accounts, dead_letters }) => {
            StoreOutcome::Done(format!("imported {}", counts(rooms, messages, accounts, dead_letters)))
        }
        Err(error) => failed(&error),
    }
}

/// Standard input as a file without a name, since an import reads twice.
fn spool() -> io::Result<File> {
    let directory = std::env::temp_dir();
    let path = directory.join(format!("roomring-import-{}", std::process::id()));
    let mut file = File::options().read(true).write(true).create_new(true).mode(MODE).open(&path)?;
    fs::remove_file(&path)?;
    io::copy(&mut io::stdin().lock(), &mut file)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

fn failed(error: &TransferError) -> StoreOutcome {
    if error.is_in_use() {
        return StoreOutcome::Refused(format!("{error}; stop it first"));
    }
    match error {
        TransferError::NoStore { .. } => StoreOutcome::Refused(format!("store.path: {error}")),
        _ => StoreOutcome::Failed(error.to_string()),
    }
}

fn counts(rooms: u64, messages: u64, accounts: u64, dead_letters: u64) -> String {
    let count = |number: u64, one: &str| if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") };
    let (rooms, messages) = (count(rooms, "room"), count(messages, "message"));
    format!("{rooms} with {messages}, {}, {}", count(accounts, "account"), count(dead_letters, "dead letter"))
}
