//! Listening sockets that a service manager hands over (sd_listen_fds(3)): opened before this process and kept open after
//! it, so that a restart refuses nobody. Reads what the environment says of them; never accepts.

use std::net::TcpListener;

use listenfd::ListenFd;
use socket2::SockRef;

/// Sockets taken; a service has a few.
const SOCKETS_MAX: usize = 256;

/// The first of them, by the protocol.
const FIRST_DESCRIPTOR: usize = 3;

/// What a socket is called (`FileDescriptorName=`) that is to be the control address. Whatever else it is called, it is
/// for clients.
const CONTROL_NAME: &str = "control";

/// What was handed over.
#[derive(Debug, Default)]
pub struct Inherited {
    /// For clients, in order; they take the place of `server.listen` where there is any.
    pub clients: Vec<TcpListener>,
    /// In place of `control.listen`.
    pub control: Option<TcpListener>,
}

/// What is wrong with what was handed over, in one sentence.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ActivationError(String);

impl Inherited {
    /// Takes what was handed to this process, and the variables that say so away from its children. To be called before
    /// there are other threads or descriptors of the process's own.
    ///
    /// # Errors
    /// What the environment says makes no sense, or a socket is not what it should be.
    pub fn take() -> Result<Inherited, ActivationError> {
        let names =
            names(std::process::id(), |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))?;
        let mut inherited = Inherited::default();
        if names.is_empty() {
            return Ok(inherited);
        }
        let mut sockets = ListenFd::from_env();
        for (index, name) in names.iter().enumerate() {
            let descriptor = index + FIRST_DESCRIPTOR;
            let socket = sockets.take_tcp_listener(index).map_err(|error| {
                ActivationError(format!(
                    "LISTEN_FDS: a socket that was handed over is not one for TCP connections: {error}"
                ))
            })?;
            let socket =
                socket.ok_or_else(|| ActivationError(format!("LISTEN_FDS: descriptor {descriptor} is not there")))?;
            if !SockRef::from(&socket).is_listener().unwrap_or(false) {
                let what = "does not listen; it must be from a ListenStream= of a socket unit with Accept=no";
                return Err(ActivationError(format!("LISTEN_FDS: the socket with descriptor {descriptor} {what}")));
            }
            match name == CONTROL_NAME {
                true if inherited.control.is_some() => {
                    return Err(ActivationError(
                        "LISTEN_FDNAMES: two sockets are called \"control\"; one is taken".into(),
                    ));
                }
                true => inherited.control = Some(socket),
                false => inherited.clients.push(socket),
            }
        }
        Ok(inherited)
    }
}

/// The name of each socket that is meant for the process `pid`; an empty one where it has none.
fn names(pid: u32, variable: impl Fn(&str) -> Option<String>) -> Result<Vec<String>, ActivationError> {
    let Some(count) = variable("LISTEN_FDS") else { return Ok(Vec::new()) };
    // Empty or missing as some programs leave it: whoever started this process meant this process.
    if let Some(meant) = variable("LISTEN_PID").filter(|meant| !meant.is_empty()) {
        match meant.parse::<u32>() {
            Ok(meant) if meant == pid => {}
            // Left over from a parent that was meant.
            Ok(_) => return Ok(Vec::new()),
            Err(_) => return Err(ActivationError(format!("LISTEN_PID: {meant:?} is not the id of a process"))),
        }
    }
    let count = count.parse::<usize>().ok().filter(|count| *count <= SOCKETS_MAX).ok_or_else(|| {
        ActivationError(format!("LISTEN_FDS: {count:?} is not a number of sockets; it must be from 0 to {SOCKETS_MAX}"))
    })?;
    let Some(names) = variable("LISTEN_FDNAMES") else { return Ok(vec![String::new(); count]) };
    let names: Vec<String> = names.split(':').map(str::to_owned).collect();
    if count > 0 && names.len() != count {
        return Err(ActivationError(format!(
            "LISTEN_FDNAMES names {} sockets, but LISTEN_FDS says {count}",
            names.len()
        )));
    }
    Ok(names.into_iter().take(count).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(variables: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let get = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        names(77, get).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn sockets_are_named_and_meant_for_one_process() {
        assert_eq!(names_in(&[]), Ok(vec![]));
        assert_eq!(names_in(&[("LISTEN_PID", "77")]), Ok(vec![]));
        assert_eq!(names_in(&[("LISTEN_FDS", "0"), ("LISTEN_FDNAMES", "")]), Ok(vec![]));
        assert_eq!(names_in(&[("LISTEN_FDS", "2")]), Ok(vec![String::new(); 2]));
        assert_eq!(names_in(&[("LISTEN_FDS", "1"), ("LISTEN_PID", "")]), Ok(vec![String::new()]));
        assert_eq!(names_in(&[("LISTEN_FDS", "1"), ("LISTEN_PID", "78")]), Ok(vec![]), "another's");
        let named = [("LISTEN_FDS", "2"), ("LISTEN_PID", "77"), ("LISTEN_FDNAMES", "roomring.socket:control")];
        assert_eq!(names_in(&named), Ok(vec!["roomring.socket".to_owned(), "control".to_owned()]));
    }

    #[test]
    fn nonsense_is_named() {
        for (variables, named) in [
            (&[("LISTEN_FDS", "many")][..], "LISTEN_FDS: \"many\" is not a number of sockets"),
            (&[("LISTEN_FDS", "-1")], "LISTEN_FDS: \"-1\""),
            (&[("LISTEN_FDS", "257")], "from 0 to 256"),
            (&[("LISTEN_FDS", "99999999999999999999")], "LISTEN_FDS"),
            (&[("LISTEN_FDS", "1"), ("LISTEN_PID", "me")], "LISTEN_PID: \"me\""),
            (&[("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "a")], "LISTEN_FDNAMES names 1 sockets"),
        ] {
            let wrong = names_in(variables).expect_err("nonsense");
            assert!(wrong.contains(named), "{variables:?}: {wrong}");
        }
    }
}
