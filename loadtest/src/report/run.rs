//! Owns the table of one run on a terminal. Never judges.

use super::{facts, section, title};
use crate::results::outcome::{Outcome, Verdict};
use crate::text;

/// Number of complaints to show; the result has more.
const COMPLAINTS_SHOWN: usize = 5;

/// The table of one run.
#[must_use]
pub fn table(outcome: &Outcome) -> String {
    let mut shown = text::bold(&title::title(&outcome.options)) + "\n";
    let (measured, seed) = (outcome.measured_s, outcome.options.seed);
    let warmup = outcome.options.warmup.as_secs_f64();
    shown.push_str(&format!("{measured:.1} s measured after {warmup:.1} s of warm-up, seed {seed}\n"));
    shown.push_str(&outcome.options.store.as_ref().map_or_else(String::new, |store| format!("store: {store}\n")));
    shown.push('\n');
    let percentiles = facts::percentiles(outcome);
    if !percentiles.is_empty() {
        let heading: Vec<String> = [""].iter().chain(&facts::PERCENTILES).map(|word| (*word).to_owned()).collect();
        shown.push_str(&text::table("l", &heading, &percentiles));
        shown.push('\n');
    }
    shown.push_str(&section::rows(&facts::sections(outcome)));
    let host = &outcome.host;
    shown.push_str(&format!("\n{} x {}, Linux {}, load {} before\n", host.cpus, host.cpu, host.kernel, host.load));
    for complaint in outcome.complaints.iter().take(COMPLAINTS_SHOWN) {
        shown.push_str(&format!("wrong: {complaint}\n"));
    }
    shown.push_str(&verdict(&outcome.verdict));
    shown
}

/// The verdict with its reasons and notes.
fn verdict(verdict: &Verdict) -> String {
    let mut shown: String = verdict.notes.iter().map(|note| format!("note: {note}\n")).collect();
    if verdict.valid {
        shown.push_str(&text::good("VALID"));
        shown.push('\n');
    } else {
        shown.push_str(&text::bad("INVALID"));
        shown.push_str(&format!(": {}\n", verdict.reasons.join("; ")));
    }
    shown
}
