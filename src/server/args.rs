//! Parses the command line. Reads no file and starts nothing.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use super::operate::RemoteCommand;
use super::operate::command::{
    AccountAddArgs, AccountListArgs, AccountLockArgs, AccountResetArgs, AccountUnlockArgs, ConnectionsArgs,
    ControlArgs, DeadLetterDropArgs, DeadLetterListArgs, DeadLetterReplayArgs, DeadLetterShowArgs, DisconnectArgs,
    DrainArgs, HistoryArgs, KickArgs, MembersArgs, OperatorCommand, PublishArgs, RoomsArgs,
};
use super::store_tools::StoreCommand;

/// The task of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Run the server.
    Serve,
    /// Check the configuration.
    CheckConfig,
    /// Print the effective configuration.
    PrintConfig,
    /// Examine this host.
    Doctor {
        /// Write the report as JSON.
        json: bool,
    },
    /// Sign a token.
    Token(TokenRequest),
    /// Work on a data directory.
    Store(StoreCommand),
    /// Send a request to a running server.
    Operate(Box<RemoteCommand>),
}

/// The flags of `roomring token`, as typed.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct TokenRequest {
    /// User of the token (claim sub)
    #[arg(long, value_name = "NAME")]
    pub user: String,
    /// How long the token is valid, such as 30m or 7d
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub ttl: String,
    /// Allow joining and publishing only in rooms that match PATTERN; repeat for more patterns
    #[arg(long = "room", value_name = "PATTERN")]
    pub rooms: Vec<String>,
}

/// A parsed command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The task.
    pub action: Action,
    /// `--config`.
    pub config: Option<PathBuf>,
    /// Each `--set`, in order.
    pub sets: Vec<String>,
}

/// A command line that runs nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EarlyExit {
    /// The text of `--help` or `--version`, for standard output.
    Text(String),
    /// What is wrong with the command line, in one sentence for standard error.
    Usage(String),
}

/// Parses a command line; the first argument is the name of the program.
///
/// # Errors
/// What to print instead of running.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, EarlyExit> {
    let line = CommandLine::try_parse_from(arguments).map_err(|error| early_exit(&error))?;
    let (action, own) = match line.command {
        None => (Action::Serve, SourceArgs::default()),
        Some(CommandArgs::Serve(own)) => (Action::Serve, own),
        Some(CommandArgs::CheckConfig(own)) => (Action::CheckConfig, own),
        Some(CommandArgs::PrintConfig(own)) => (Action::PrintConfig, own),
        Some(CommandArgs::Doctor { sources, json }) => (Action::Doctor { json }, sources),
        Some(CommandArgs::Token { sources, token }) => (Action::Token(token), sources),
        Some(CommandArgs::Store { ask }) => ask.split(),
        Some(CommandArgs::Rooms(operated)) => operated.split(),
        Some(CommandArgs::Connections(operated)) => operated.split(),
        Some(CommandArgs::Members(operated)) => operated.split(),
        Some(CommandArgs::History(operated)) => operated.split(),
        Some(CommandArgs::Publish(operated)) => operated.split(),
        Some(CommandArgs::Kick(operated)) => operated.split(),
        Some(CommandArgs::Disconnect(operated)) => operated.split(),
        Some(CommandArgs::Accounts { ask }) => match ask {
            AccountCommandArgs::List(operated) => operated.split(),
            AccountCommandArgs::Add(operated) => operated.split(),
            AccountCommandArgs::Lock(operated) => operated.split(),
            AccountCommandArgs::Unlock(operated) => operated.split(),
            AccountCommandArgs::Reset(operated) => operated.split(),
        },
        Some(CommandArgs::DeadLetters { ask }) => match ask {
            DeadLetterCommandArgs::List(operated) => operated.split(),
            DeadLetterCommandArgs::Show(operated) => operated.split(),
            DeadLetterCommandArgs::Replay(operated) => operated.split(),
            DeadLetterCommandArgs::Drop(operated) => operated.split(),
        },
        Some(CommandArgs::Drain(operated)) => operated.split(),
    };
    // Not clap's global arguments: with them a --set before the command would be lost when another stands behind it.
    let SourceArgs { config, set: mut sets } = line.sources;
    sets.extend(own.set);
    match (config, own.config) {
        (Some(_), Some(_)) => Err(EarlyExit::Usage("--config is given twice; name one file".into())),
        (config, other) => Ok(Invocation { action, config: config.or(other), sets }),
    }
}

#[derive(Debug, Parser)]
#[command(
    name = "roomring",
    version,
    about = "Real-time WebSocket room server",
    disable_help_subcommand = true,
    after_help = "Without a command, roomring runs the server.\n\
                  Configuration sources, later ones override earlier ones: built-in defaults; the file (--config,\n\
                  else roomring.toml, else /etc/roomring/roomring.toml); environment variables\n\
                  ROOMRING_SECTION__KEY; --set.\n\
                  Exit codes: 0 success, 1 failure while running, 2 bad usage or configuration."
)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<CommandArgs>,
    #[command(flatten)]
    sources: SourceArgs,
}

#[derive(Debug, Subcommand)]
enum CommandArgs {
    /// Run the server (the default)
    Serve(SourceArgs),
    /// Check the configuration; report every mistake with file, line and key
    CheckConfig(SourceArgs),
    /// Print the effective configuration as TOML, each value with its source; secrets are masked
    PrintConfig(SourceArgs),
    /// Check whether this host can run the server, and how to make it faster; exits 1 only if it cannot
    Doctor {
        #[command(flatten)]
        sources: SourceArgs,
        /// Write the report as JSON
        #[arg(long)]
        json: bool,
    },
    /// Sign a token (JWT) with auth.hmac_secret and print it
    Token {
        #[command(flatten)]
        sources: SourceArgs,
        #[command(flatten)]
        token: TokenRequest,
    },
    /// Work on the data directory of a server that does not run (store.kind = "embedded")
    Store {
        #[command(subcommand)]
        ask: StoreCommandArgs,
    },
    /// List the rooms of a running server, or its busiest rooms
    Rooms(Operated<RoomsArgs>),
    /// List the connections of a running server, or its slowest consumers
    Connections(Operated<ConnectionsArgs>),
    /// List the users in a room
    Members(Operated<MembersArgs>),
    /// Read a room's history
    History(Operated<HistoryArgs>),
    /// Publish a message to a room as the server
    Publish(Operated<PublishArgs>),
    /// Remove a user from a room
    Kick(Operated<KickArgs>),
    /// Close all connections of a user, or one connection
    Disconnect(Operated<DisconnectArgs>),
    /// List and change the accounts of a running server (auth.mode = "accounts")
    Accounts {
        #[command(subcommand)]
        ask: AccountCommandArgs,
    },
    /// List, publish again or drop messages that a running server has acknowledged and could not store
    DeadLetters {
        #[command(subcommand)]
        ask: DeadLetterCommandArgs,
    },
    /// Drain a running server: close its connections gradually, then exit, as on SIGTERM
    Drain(Operated<DrainArgs>),
}

#[derive(Debug, Subcommand)]
enum StoreCommandArgs {
    /// Check the log and the index, and change nothing; exits 1 if the store is damaged, 2 if it cannot be checked
    Check {
        #[command(flatten)]
        sources: SourceArgs,
        /// Write the report as JSON
        #[arg(long)]
        json: bool,
    },
    /// Write rooms, accounts and dead letters as JSON lines
    ///
    /// The lines hold the password hashes of accounts. They hold no sessions, and not the key that signs the tokens of
    /// accounts: after an import into another directory, users sign in again.
    Export {
        #[command(flatten)]
        sources: SourceArgs,
        /// Export only this room, without accounts and dead letters; repeat for more rooms
        #[arg(long = "room", value_name = "NAME")]
        rooms: Vec<String>,
        /// File to write, which must not exist; standard output by default
        file: Option<PathBuf>,
    },
    /// Read rooms, accounts and dead letters that were exported
    ///
    /// A room or an account that exists already is an error, and then nothing is imported. Rooms keep their epochs and numbers,
    /// so that clients recover across the import.
    Import {
        #[command(flatten)]
        sources: SourceArgs,
        /// Give every room another epoch: needed if its server went on after the export, so that numbers were given that the
        /// export does not have
        #[arg(long)]
        new_epochs: bool,
        /// File to read; standard input by default
        file: Option<PathBuf>,
    },
}

impl StoreCommandArgs {
    fn split(self) -> (Action, SourceArgs) {
        match self {
            StoreCommandArgs::Check { sources, json } => (Action::Store(StoreCommand::Check { json }), sources),
            StoreCommandArgs::Export { sources, rooms, file } => {
                (Action::Store(StoreCommand::Export { rooms, file }), sources)
            }
            StoreCommandArgs::Import { sources, new_epochs, file } => {
                (Action::Store(StoreCommand::Import { new_epochs, file }), sources)
            }
        }
    }
}

#[derive(Debug, Subcommand)]
enum AccountCommandArgs {
    /// List accounts in the order of their users' names
    List(Operated<AccountListArgs>),
    /// Make an account; reads its password from standard input, and generates and prints one if that is empty
    Add(Operated<AccountAddArgs>),
    /// Lock an account, so that it gets no tokens, and close the user's connections
    Lock(Operated<AccountLockArgs>),
    /// Unlock an account
    Unlock(Operated<AccountUnlockArgs>),
    /// Give an account another password; reads it from standard input, and generates and prints one if that is empty
    Reset(Operated<AccountResetArgs>),
}

#[derive(Debug, Subcommand)]
enum DeadLetterCommandArgs {
    /// List dead letters, oldest first
    List(Operated<DeadLetterListArgs>),
    /// Show a dead letter with its data
    Show(Operated<DeadLetterShowArgs>),
    /// Publish a dead letter as a new message of its room, from its publisher, and drop it
    Replay(Operated<DeadLetterReplayArgs>),
    /// Drop a dead letter; its message is lost
    Drop(Operated<DeadLetterDropArgs>),
}

/// A command that sends a request to the control address of a running server.
#[derive(Debug, Args)]
struct Operated<T: Args> {
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    how: ControlArgs,
    #[command(flatten)]
    what: T,
}

impl<T: Args + Into<OperatorCommand>> Operated<T> {
    fn split(self) -> (Action, SourceArgs) {
        let Self { sources, how, what } = self;
        (Action::Operate(Box::new(RemoteCommand { how, ask: what.into() })), sources)
    }
}

#[derive(Debug, Default, Args)]
struct SourceArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key, overriding file and environment; repeat for more keys
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

/// The error of the parser, which has several lines, as one sentence.
fn early_exit(error: &clap::Error) -> EarlyExit {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return EarlyExit::Text(error.to_string());
    }
    let text = error.to_string();
    let useful = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let sentence: Vec<&str> = useful.filter(|line| !line.is_empty()).collect();
    let sentence = sentence.join("; ").replace("; tip: ", "; ");
    let sentence = sentence.strip_prefix("error: ").unwrap_or(&sentence);
    EarlyExit::Usage(format!("{sentence}; see roomring --help"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Invocation, EarlyExit> {
        parse(std::iter::once("roomring").chain(line.split_whitespace()).map(OsString::from))
    }

    fn request(action: Action, config: Option<&str>, sets: &[&str]) -> Result<Invocation, EarlyExit> {
        let sets = sets.iter().map(ToString::to_string).collect();
        Ok(Invocation { action, config: config.map(PathBuf::from), sets })
    }

    #[test]
    fn each_command_takes_the_sources_before_and_behind_it() {
        assert_eq!(parse_line(""), request(Action::Serve, None, &[]));
        assert_eq!(parse_line("--config a.toml"), request(Action::Serve, Some("a.toml"), &[]));
        assert_eq!(parse_line("serve --set a.b=c"), request(Action::Serve, None, &["a.b=c"]));
        assert_eq!(
            parse_line("--set a.b=1 check-config --config=x --set a.b=2"),
            request(Action::CheckConfig, Some("x"), &["a.b=1", "a.b=2"])
        );
        assert_eq!(parse_line("print-config"), request(Action::PrintConfig, None, &[]));
        assert_eq!(parse_line("doctor"), request(Action::Doctor { json: false }, None, &[]));
        assert_eq!(
            parse_line("--set a.b=1 store check --json --config x"),
            request(Action::Store(StoreCommand::Check { json: true }), Some("x"), &["a.b=1"])
        );
        let (rooms, file) = (vec!["a".to_owned(), "b".to_owned()], Some(PathBuf::from("out")));
        let export = StoreCommand::Export { rooms, file: file.clone() };
        assert_eq!(parse_line("store export --room a out --room=b"), request(Action::Store(export), None, &[]));
        let import = StoreCommand::Import { new_epochs: true, file: None };
        assert_eq!(parse_line("store import --new-epochs"), request(Action::Store(import), None, &[]));
        assert_eq!(
            parse_line("--config=x doctor --json --set a.b=1"),
            request(Action::Doctor { json: true }, Some("x"), &["a.b=1"])
        );
    }

    #[test]
    fn a_token_has_its_flags_and_an_hour() {
        let token = |user: &str, ttl: &str, rooms: &[&str]| {
            let rooms = rooms.iter().map(ToString::to_string).collect();
            Action::Token(TokenRequest { user: user.into(), ttl: ttl.into(), rooms })
        };
        assert_eq!(parse_line("token --user ann"), request(token("ann", "1h", &[]), None, &[]));
        assert_eq!(
            parse_line("--config x token --user ann --ttl=5m --room a* --room b --set auth.issuer=me"),
            request(token("ann", "5m", &["a*", "b"]), Some("x"), &["auth.issuer=me"])
        );
    }

    #[test]
    fn bad_usage_is_one_sentence() {
        for (line, named) in [
            ("token", "--user"),
            ("token --user a --room", "--room"),
            ("token a", "'a'"),
            ("serve --confg x", "'--confg'"),
            ("--config", "--config"),
            ("--config a check-config --config b", "--config"),
            ("serve now", "'now'"),
        ] {
            let Err(EarlyExit::Usage(sentence)) = parse_line(line) else { panic!("{line} is accepted") };
            assert!(sentence.contains(named) && !sentence.contains('\n'), "{line}: {sentence}");
            assert!(!sentence.starts_with("error"), "{sentence}");
        }
    }

    #[test]
    fn help_and_version_are_texts() {
        let version = format!("roomring {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(parse_line("--version"), Err(EarlyExit::Text(version)));
        let Err(EarlyExit::Text(help)) = parse_line("--help") else { panic!("no help") };
        assert!(help.contains("check-config") && help.contains("ROOMRING_SECTION__KEY"));
    }
}
