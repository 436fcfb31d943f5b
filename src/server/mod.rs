//! The top floor: command line, configuration, log, and the start, reload and end of the process. Owns the assembly of the
//! floors below; never on the path of a message.

mod accounts;
mod activation;
pub mod args;
pub mod auth;
mod boot;
pub mod config;
mod cores;
mod dead_letters;
mod doctor;
pub mod drain;
mod file;
mod lifecycle;
pub mod log;
mod open_files;
mod operate;
mod reload;
mod services;
mod signals;
mod store_rules;
mod store_tools;
mod supervisor;
mod tls;
mod token;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use self::args::{Action, EarlyExit, Invocation, TokenRequest};
use self::config::check::notes;
use self::config::config_file::ConfigFile;
use self::config::load::{Sources, load};
use self::config::lower::plan;
use self::config::machine::HostMachine;
use self::config::origin::{Mistake, Severity};
use self::config::{Config, print};
use self::doctor::Diagnosis;
use self::operate::{OperateError, RemoteCommand};
use self::store_tools::StoreOutcome;
use crate::io::clock;

/// Failed while running.
const FAILED: u8 = 1;

/// Bad usage or configuration.
const USAGE: u8 = 2;

/// Runs the program. Returns its exit code: 0 success, 1 failed while running, 2 bad usage or configuration. Errors go to
/// standard error, one sentence a line.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    disable_huge_pages();
    match args::parse(arguments) {
        Ok(request) => run(request),
        Err(EarlyExit::Text(text)) => print(text.trim_end()),
        Err(EarlyExit::Usage(sentence)) => {
            complain(format_args!("roomring: {sentence}"));
            ExitCode::from(USAGE)
        }
    }
}

/// Disables transparent huge pages (`prctl(2)`, `PR_SET_THP_DISABLE`): connections are small and are freed in any order, so
/// that a few of them would keep many 2 MiB pages in memory.
fn disable_huge_pages() {
    // If this fails the server only uses more memory.
    let _ = nix::sys::prctl::set_thp_disable(true);
}

fn run(request: Invocation) -> ExitCode {
    let machine = HostMachine::detect();
    let sources = Sources::of_process(request.config, request.sets);
    let (config, mut mistakes) = load(&sources);
    if let Action::Token(token) = &request.action {
        // Needs no valid plan: tokens may be made on another machine than the server's.
        return if mistakes.is_empty() { print_token(&config, token) } else { refuse(&mistakes) };
    }
    if let Action::Operate(operation) = &request.action {
        // Needs no valid plan: the server may run on another machine.
        return if mistakes.is_empty() { operate(operation, &config) } else { refuse(&mistakes) };
    }
    let plan = plan(&config, &machine);
    if let Err(refused) = &plan {
        mistakes.extend_from_slice(refused);
    }
    match (request.action, plan) {
        (Action::PrintConfig, _) => print_config(&config, &mistakes),
        (Action::CheckConfig, Ok(_)) if mistakes.is_empty() => {
            let file = config.file.as_ref().map_or_else(|| "no file".into(), ConfigFile::shown);
            let fine = format!("the configuration is fine ({file})");
            print(&notes(&config).iter().fold(fine, |text, note| format!("{text}\nnote: {note}")))
        }
        (Action::Serve, Ok(plan)) if mistakes.is_empty() => match boot::serve(&sources, &machine, config, &plan) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(format_args!("roomring: {error:#}"));
                ExitCode::from(FAILED)
            }
        },
        (Action::Doctor { json }, Ok(plan)) if mistakes.is_empty() => {
            print_report(&doctor::run(&config, &plan, &machine, json))
        }
        (Action::Store(command), Ok(plan)) if mistakes.is_empty() => match store_tools::run(&command, &plan) {
            StoreOutcome::Done(text) => print(&text),
            StoreOutcome::Damaged(text) => {
                print(&text);
                ExitCode::from(FAILED)
            }
            StoreOutcome::Written => ExitCode::SUCCESS,
            StoreOutcome::Failed(sentence) => {
                complain(format_args!("roomring: {sentence}"));
                ExitCode::from(FAILED)
            }
            StoreOutcome::Refused(sentence) => {
                complain(format_args!("roomring: {sentence}"));
                ExitCode::from(USAGE)
            }
        },
        (
            Action::CheckConfig
            | Action::Serve
            | Action::Doctor { .. }
            | Action::Token(_)
            | Action::Operate(_)
            | Action::Store(_),
            _,
        ) => refuse(&mistakes),
    }
}

/// Sends an operator command to a running server.
fn operate(operation: &RemoteCommand, config: &Config) -> ExitCode {
    let (sentence, code) = match operate::run(operation, config) {
        Ok(text) => return print(&text),
        Err(OperateError::Usage(sentence)) => (sentence, USAGE),
        Err(OperateError::Running(sentence)) => (sentence, FAILED),
    };
    complain(format_args!("roomring: {sentence}"));
    ExitCode::from(code)
}

/// Prints the effective configuration even if the server would refuse it, unless it cannot be determined.
fn print_config(config: &Config, mistakes: &[Mistake]) -> ExitCode {
    let known = mistakes.iter().all(|mistake| mistake.severity == Severity::Refused);
    let printed = if known { print(print::render(config).trim_end()) } else { ExitCode::SUCCESS };
    if mistakes.is_empty() { printed } else { refuse(mistakes) }
}

fn print_report(diagnosis: &Diagnosis) -> ExitCode {
    let printed = print(diagnosis.report.trim_end());
    if diagnosis.can_serve { printed } else { ExitCode::from(FAILED) }
}

fn print_token(config: &Config, request: &TokenRequest) -> ExitCode {
    match token::sign(config, request, clock::now().unix_ms) {
        Ok(token) => print(&token),
        Err(sentence) => {
            complain(format_args!("roomring: {sentence}"));
            ExitCode::from(USAGE)
        }
    }
}

fn refuse(mistakes: &[Mistake]) -> ExitCode {
    for mistake in mistakes {
        complain(format_args!("{mistake}"));
    }
    ExitCode::from(USAGE)
}

/// Prints to standard output; exit code 1 if the reader is gone.
fn print(text: &str) -> ExitCode {
    let mut output = std::io::stdout().lock();
    match writeln!(output, "{text}").and_then(|()| output.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(FAILED),
    }
}

/// Prints to standard error. If that is closed the sentence is lost.
fn complain(sentence: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{sentence}");
}
