//! The new password of an account: read from standard input, without echo where that is a terminal, or generated. Never on the
//! command line, which other users of the machine can see.

use std::io::{BufRead, IsTerminal, Write};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::base::limits::PASSWORD_BYTES_MAX;

/// Random bits of a generated password, five to a character.
const GENERATED_CHARS: usize = 26;

/// Without the characters that people mistake for others.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A password for an account.
pub(super) struct GivenPassword {
    pub(super) password: String,
    pub(super) is_generated: bool,
}

/// Reads a password for a user's account: one line. An empty one, or none, generates one.
///
/// # Errors
/// One sentence.
pub(super) fn read(user: &str) -> Result<GivenPassword, String> {
    let input = std::io::stdin();
    let line = if input.is_terminal() {
        let prompt = format!("password for {} (empty to generate one): ", super::table::plain(user));
        let mut terminal = std::io::stderr().lock();
        // Without a prompt, the terminal still waits.
        let _ = write!(terminal, "{prompt}").and_then(|()| terminal.flush());
        let hidden = Hidden::begin()?;
        let line = read_line(&mut input.lock());
        drop(hidden);
        let _ = writeln!(terminal);
        line?
    } else {
        read_line(&mut input.lock())?
    };
    match line.is_empty() {
        true => Ok(GivenPassword { password: generate()?, is_generated: true }),
        false => Ok(GivenPassword { password: line, is_generated: false }),
    }
}

/// The first line, without its end.
fn read_line(input: &mut impl BufRead) -> Result<String, String> {
    let mut line = Vec::new();
    let limited = &mut std::io::Read::take(input, PASSWORD_BYTES_MAX as u64 + 3);
    let read = limited.read_until(b'\n', &mut line);
    read.map_err(|error| format!("cannot read the password from standard input: {error}"))?;
    let line = line.strip_suffix(b"\n").map_or(&*line, |line| line.strip_suffix(b"\r").unwrap_or(line));
    if line.len() > PASSWORD_BYTES_MAX {
        return Err(format!("the password on standard input must be at most {PASSWORD_BYTES_MAX} bytes"));
    }
    let text = std::str::from_utf8(line);
    text.map(str::to_owned).map_err(|_| "the password on standard input is not UTF-8".to_owned())
}

fn generate() -> Result<String, String> {
    let mut random = [0; GENERATED_CHARS];
    getrandom::fill(&mut random)
        .map_err(|error| format!("cannot get random numbers from the operating system: {error}"))?;
    Ok(random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect())
}

/// The terminal of standard input shows nothing that is typed, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> Result<Self, String> {
        let failed = |error: nix::Error| format!("cannot hide what is typed: {error}");
        let before = tcgetattr(std::io::stdin()).map_err(failed)?;
        let mut hidden = before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(std::io::stdin(), SetArg::TCSAFLUSH, &hidden).map_err(failed)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // The shell that follows sets the terminal as it likes.
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSAFLUSH, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_read_without_its_end() {
        for (text, expected) in
            [("", ""), ("\n", ""), ("a b\n", "a b"), ("a\r\nmore\n", "a"), (" a ", " a "), ("a\r", "a\r")]
        {
            assert_eq!(read_line(&mut text.as_bytes()).as_deref(), Ok(expected), "{text:?}");
        }
        assert!(read_line(&mut &b"\xff\n"[..]).is_err(), "passwords are text");
        let long = "ü".repeat(PASSWORD_BYTES_MAX / 2);
        assert_eq!(read_line(&mut format!("{long}\r\n").as_bytes()), Ok(long.clone()));
        assert!(read_line(&mut format!("{long}ü\n").as_bytes()).expect_err("too long").contains("1024 bytes"));
    }

    #[test]
    fn generated_passwords_are_long_and_differ() {
        let (one, other) = (generate().expect("random"), generate().expect("random"));
        assert!(one.len() == GENERATED_CHARS && one != other, "{one} {other}");
        assert!(one.bytes().all(|byte| ALPHABET.contains(&byte)), "{one}");
    }
}
