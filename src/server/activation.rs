//! Socket activation: listening sockets that a service manager hands over (sd_listen_fds(3)) and keeps open, so that
//! restarts drop no new connections. Never accepts.

use std::net::TcpListener;

use listenfd::ListenFd;
use socket2::SockRef;

/// Sockets that can be handed over; a service has a few.
const SOCKETS_MAX: usize = 256;

/// The first descriptor, by the protocol.
const FIRST_DESCRIPTOR: usize = 3;

/// The name (`FileDescriptorName=`) of the socket for the control address. Sockets of any other name are for clients.
const CONTROL_NAME: &str = "control";

/// The sockets that were handed over.
#[derive(Debug, Default)]
pub struct Inherited {
    /// For clients, in order; if there are any, `server.listen` is not used.
    pub clients: Vec<TcpListener>,
    /// Used instead of `control.listen`.
    pub control: Option<TcpListener>,
}

/// Why the sockets cannot be used: one sentence.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ActivationError(String);

impl Inherited {
    /// Takes the sockets that were handed to this process, and removes the variables from its environment. Call it before
    /// the process has other threads or descriptors.
    ///
    /// # Errors
    /// A variable is invalid, or a descriptor is not a listening TCP socket.
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
                ActivationError(format!("LISTEN_FDS: descriptor {descriptor} is not a TCP socket: {error}"))
            })?;
            let socket =
                socket.ok_or_else(|| ActivationError(format!("LISTEN_FDS: descriptor {descriptor} is not open")))?;
            if !SockRef::from(&socket).is_listener().unwrap_or(false) {
                let must = "it must come from ListenStream= of a socket unit with Accept=no";
                return Err(ActivationError(format!("LISTEN_FDS: descriptor {descriptor} does not listen; {must}")));
            }
            match name == CONTROL_NAME {
                true if inherited.control.is_some() => {
                    return Err(ActivationError(
                        "LISTEN_FDNAMES: two sockets are named \"control\"; name at most one so".into(),
                    ));
                }
                true => inherited.control = Some(socket),
                false => inherited.clients.push(socket),
            }
        }
        Ok(inherited)
    }
}

/// The name of each socket for process `pid`; empty if it has none.
fn names(pid: u32, variable: impl Fn(&str) -> Option<String>) -> Result<Vec<String>, ActivationError> {
    let Some(count) = variable("LISTEN_FDS") else { return Ok(Vec::new()) };
    // Some programs leave it empty or unset, and mean the process that they start.
    if let Some(meant) = variable("LISTEN_PID").filter(|pid| !pid.is_empty()) {
        match meant.parse::<u32>() {
            Ok(meant) if meant == pid => {}
            // Inherited from a parent that the sockets were for.
            Ok(_) => return Ok(Vec::new()),
            Err(_) => return Err(ActivationError(format!("LISTEN_PID: {meant:?} is not a process id"))),
        }
    }
    let count = count.parse::<usize>().ok().filter(|count| *count <= SOCKETS_MAX).ok_or_else(|| {
        ActivationError(format!("LISTEN_FDS: {count:?} is not a number of sockets; it must be from 0 to {SOCKETS_MAX}"))
    })?;
    let Some(names) = variable("LISTEN_FDNAMES") else { return Ok(vec![String::new(); count]) };
    let names: Vec<String> = names.split(':').map(str::to_owned).collect();
    if count > 0 && names.len() != count {
        return Err(ActivationError(format!(
            "LISTEN_FDNAMES names {} sockets, but LISTEN_FDS is {count}",
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
        names(77, get).map_err(|error| error.to_string())
    }

    #[test]
    fn sockets_have_names_and_are_for_one_process() {
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
    fn errors_name_the_variable() {
        for (variables, named) in [
            (&[("LISTEN_FDS", "many")][..], "LISTEN_FDS: \"many\" is not a number of sockets"),
            (&[("LISTEN_FDS", "-1")], "LISTEN_FDS: \"-1\""),
            (&[("LISTEN_FDS", "257")], "from 0 to 256"),
            (&[("LISTEN_FDS", "99999999999999999999")], "LISTEN_FDS"),
            (&[("LISTEN_FDS", "1"), ("LISTEN_PID", "me")], "LISTEN_PID: \"me\""),
            (&[("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "a")], "LISTEN_FDNAMES names 1 sockets"),
        ] {
            let error = names_in(variables).expect_err("invalid");
            assert!(error.contains(named), "{variables:?}: {error}");
        }
    }
}
