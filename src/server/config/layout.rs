//! Which executors run, and on which CPUs: `server.cores` and `server.pin` on one machine. Starts nothing.

use super::effective::Config;
use super::machine::HostMachine;
use super::origin::Mistake;
use super::setting::written;
use super::units::{CORES_MAX, CoresSetting};

/// The executors: for each one the CPU that it is pinned to, if it is.
///
/// # Errors
/// The machine lacks the CPUs, or `server.cores` needs `server.pin`.
pub fn layout(config: &Config, machine: &HostMachine) -> Result<Vec<Option<usize>>, Mistake> {
    let (cores, pin) = (config.get("server", "cores"), config.get("server", "pin"));
    let refuse = |text: String| Err(Mistake::refused(written(cores, pin), "server.cores", text));
    let there = machine.cpus.len();
    match (cores.cores(), pin.flag()) {
        (CoresSetting::Auto, pinned) => {
            let count = machine.parallelism.min(there).clamp(1, usize::from(CORES_MAX));
            Ok(machine.cpus.iter().take(count).map(|cpu| pinned.then_some(*cpu)).collect())
        }
        (CoresSetting::Count(count), false) => Ok(vec![None; usize::from(*count)]),
        (CoresSetting::Count(count), true) if usize::from(*count) > there => refuse(format!(
            "{count} executors are more than the {there} CPUs that this process may use; it must be at most {there}, \
             or server.pin must be false"
        )),
        (CoresSetting::Count(count), true) => {
            Ok(machine.cpus.iter().take(usize::from(*count)).copied().map(Some).collect())
        }
        (CoresSetting::Cpus(_), false) => {
            refuse("a list of CPUs needs server.pin = true; with false it must be a number of executors".into())
        }
        (CoresSetting::Cpus(cpus), true) => match cpus.iter().find(|cpu| !machine.cpus.contains(cpu)) {
            Some(cpu) => {
                let may = CoresSetting::Cpus(machine.cpus.clone());
                refuse(format!("CPU {cpu} is not one that this process may use; it must be among \"{may}\""))
            }
            None => Ok(cpus.iter().copied().map(Some).collect()),
        },
    }
}
