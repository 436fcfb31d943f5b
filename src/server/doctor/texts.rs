//! Numbers, commands and lines of files as the doctor writes them. Knows no host.

use super::wanted::Sysctl;

/// The file of this project that sets the sysctls.
pub const SYSCTL_FILE: &str = "tuning/sysctl.d/90-roomring.conf";

/// The command that sets a sysctl, and the file that sets it at each start of the host.
pub fn set(sysctl: &Sysctl) -> String {
    let quoted = if sysctl.value.contains(' ') { format!("'{}'", sysctl.value) } else { sysctl.value.to_owned() };
    format!("sysctl -w {}={quoted} (at each boot: {SYSCTL_FILE})", sysctl.name)
}

/// A line of the unit, with its place.
pub fn unit_line(line: &str) -> String {
    format!("{line} in [Service] of roomring.service")
}

/// `1 core`, `2 cores`.
pub fn cores_text(cores: usize) -> String {
    if cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") }
}

/// 1234567 as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes as whole MiB.
pub fn mib(bytes: u64) -> String {
    format!("{} MiB", grouped(bytes >> 20))
}
