//! How the doctor writes numbers, and the lines and commands that an operator copies. Knows no host.

use super::wanted::Sysctl;

/// Where the sysctls are kept, and the file of this project that holds them.
pub const SYSCTL_FILE: &str = "tuning/sysctl.d/90-roomring.conf";

/// The command that sets a sysctl as wanted, and the file that keeps it.
pub fn set(sysctl: &Sysctl) -> String {
    let quoted = if sysctl.value.contains(' ') { format!("'{}'", sysctl.value) } else { sysctl.value.to_owned() };
    format!("sysctl -w {}={quoted} (kept by {SYSCTL_FILE})", sysctl.name)
}

/// A line of the unit, and where it belongs.
pub fn unit_line(line: &str) -> String {
    format!("{line} in [Service] of roomring.service")
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
