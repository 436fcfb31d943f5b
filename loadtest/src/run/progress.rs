//! Owns the live display of a run on standard error: a block redrawn in place on a terminal, otherwise a line per
//! second. Never measures.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::measure::counters::Counters;
use crate::results::outcome::{RunStage, Sample};
use crate::text::{bytes, grouped, micros};

/// Interval between lines without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Steps of the bar.
const STEPS: u64 = 1_000;

/// The display of one run.
pub struct Progress {
    how: DisplayMode,
    told: Instant,
}

enum DisplayMode {
    Silent,
    Lines,
    Block(ProgressBar),
}

/// The state to show.
pub struct ProgressView<'a> {
    /// Sample of the last second.
    pub last: &'a Sample,
    /// Time in the stage so far.
    pub elapsed: Duration,
    /// Length of the stage, if known.
    pub total: Option<Duration>,
    /// Planned number of clients.
    pub wanted: u64,
    /// Counters since the start of the run.
    pub counters: &'a Counters,
    /// The unit of work, in plural.
    pub unit: &'a str,
    /// The last failure.
    pub failure: Option<&'a str>,
}

impl Progress {
    /// Starts a display; on a terminal, a block under `title`.
    #[must_use]
    pub fn start(shown: bool, title: &str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::stderr_with_hz(8));
        let how = match (shown, bar.is_hidden()) {
            (false, _) => DisplayMode::Silent,
            (true, true) => DisplayMode::Lines,
            (true, false) => {
                let style = ProgressStyle::with_template("{prefix:.bold}\n{bar:40.cyan/dim} {msg}");
                bar.set_style(style.expect("the template is valid").progress_chars("━━─"));
                bar.set_prefix(title.to_owned());
                DisplayMode::Block(bar)
            }
        };
        // Shows the first line at once.
        let told = Instant::now().checked_sub(LINE_EVERY).unwrap_or_else(Instant::now);
        Progress { how, told }
    }

    /// Shows the state.
    pub fn show(&mut self, view: &ProgressView<'_>) {
        match &self.how {
            DisplayMode::Silent => {}
            DisplayMode::Lines if self.told.elapsed() < LINE_EVERY => {}
            DisplayMode::Lines => {
                self.told = Instant::now();
                eprintln!("{}", line(view));
            }
            DisplayMode::Block(bar) => {
                bar.set_position((share(view) * STEPS as f64) as u64);
                bar.set_message(block(view));
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let DisplayMode::Block(bar) = &self.how {
            bar.finish_and_clear();
        }
    }
}

/// Completed share of the stage, 0 … 1.
fn share(view: &ProgressView<'_>) -> f64 {
    let share = match (view.last.stage, view.total) {
        (RunStage::Connecting, _) => view.last.ready as f64 / view.wanted.max(1) as f64,
        (_, Some(total)) if !total.is_zero() => view.elapsed.as_secs_f64() / total.as_secs_f64(),
        _ => 1.0,
    };
    share.clamp(0.0, 1.0)
}

/// The stage and its progress.
fn stage(view: &ProgressView<'_>) -> String {
    let what = match view.last.stage {
        RunStage::Connecting => "connecting",
        RunStage::Settling => "settling",
        RunStage::Warming => "warming up",
        RunStage::Measuring => "measuring",
        RunStage::Draining => "draining",
        RunStage::Checking => "checking",
    };
    match (view.last.stage, view.total) {
        (RunStage::Connecting, _) => format!("{what} {} of {}", grouped(view.last.ready), grouped(view.wanted)),
        (RunStage::Checking, _) => format!("{what}, {} read back", grouped(view.counters.read_back)),
        (RunStage::Draining, _) => format!("{what}, {} in flight", grouped(view.counters.outstanding)),
        (_, Some(total)) => format!("{what} {:.1} of {:.1} s", view.elapsed.as_secs_f64(), total.as_secs_f64()),
        (_, None) => format!("{what} {:.1} s", view.elapsed.as_secs_f64()),
    }
}

/// Rates of the last second.
fn rates(view: &ProgressView<'_>) -> String {
    let done = format!("{} {}/s", grouped(view.last.done as u64), view.unit);
    match view.last.published {
        published if published > 0.0 => format!("{} published/s, {done}", grouped(published as u64)),
        _ => done,
    }
}

fn latency(last: &Sample) -> Option<String> {
    let (p50, p99, max) = (last.p50?, last.p99?, last.max?);
    Some(format!("p50 {}, p99 {}, max {}", micros(p50), micros(p99), micros(max)))
}

fn cpu(last: &Sample) -> String {
    let generator = format!("generator {:.0} %", last.generator_cpus * 100.0);
    match (last.server_cpus, last.server_resident) {
        (Some(cpus), Some(memory)) => format!("server {:.0} %, {}; {generator}", cpus * 100.0, bytes(memory as f64)),
        _ => generator,
    }
}

fn trouble(view: &ProgressView<'_>) -> Option<String> {
    let counters = view.counters;
    let counts = [
        (counters.duplicated, "duplicated"),
        (counters.out_of_order, "out of order"),
        (counters.misrouted, "misrouted"),
        (counters.wrong, "wrong"),
        (counters.errors, "refused"),
        (counters.disconnected, "disconnected"),
        (counters.connect_failures, "attempts failed"),
    ];
    let mut said: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    said.extend(view.failure.map(|failure| failure.replace(char::is_control, " ").chars().take(120).collect()));
    (!said.is_empty()).then(|| said.join(", "))
}

/// The state in one line.
fn line(view: &ProgressView<'_>) -> String {
    let parts = [Some(stage(view)), Some(rates(view)), latency(view.last), Some(format!("CPU: {}", cpu(view.last)))];
    let mut text = parts.into_iter().flatten().collect::<Vec<_>>().join(" | ");
    if let Some(trouble) = trouble(view) {
        text.push_str(" | TROUBLE: ");
        text.push_str(&trouble);
    }
    text
}

/// The text beside and below the bar. Always has the same number of lines, so that nothing jumps.
fn block(view: &ProgressView<'_>) -> String {
    format!(
        "{}\n  rate     {}\n  latency  {}\n  CPU      {}\n  trouble  {}",
        stage(view),
        rates(view),
        latency(view.last).unwrap_or_else(|| "-".to_owned()),
        cpu(view.last),
        trouble(view).unwrap_or_else(|| "none".to_owned())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(stage: RunStage) -> Sample {
        Sample {
            at_s: 1.0,
            seconds: 1.0,
            stage,
            ready: 250,
            published: 120.0,
            done: 12_000.0,
            p50: Some(420.0),
            p99: Some(1_250.0),
            p999: Some(2_000.0),
            max: Some(2_500.0),
            generator_cpus: 0.42,
            server_cpus: Some(0.99),
            server_resident: Some(12 << 20),
        }
    }

    fn view<'a>(last: &'a Sample, counters: &'a Counters) -> ProgressView<'a> {
        ProgressView {
            last,
            elapsed: Duration::from_millis(2_500),
            total: Some(Duration::from_secs(10)),
            wanted: 1_000,
            counters,
            unit: "deliveries",
            failure: None,
        }
    }

    #[test]
    fn a_line_has_all_figures() {
        let (last, counters) = (sample(RunStage::Measuring), Counters::default());
        let view = view(&last, &counters);
        assert_eq!(share(&view), 0.25);
        let text = line(&view);
        for part in ["measuring 2.5 of 10.0 s", "120 published/s", "12,000 deliveries/s", "p99 1.25 ms", "server 99 %"]
        {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains("TROUBLE") && block(&view).contains("trouble  none"));
    }

    #[test]
    fn a_block_always_has_the_same_number_of_lines() {
        let counters = Counters { duplicated: 3, ..Counters::default() };
        let quiet = Sample { p50: None, server_cpus: None, ..sample(RunStage::Connecting) };
        let troubled = ProgressView { failure: Some("refused:\n\u{1b}[2Jno"), total: None, ..view(&quiet, &counters) };
        let text = block(&troubled);
        assert_eq!(
            text.lines().count(),
            block(&view(&sample(RunStage::Settling), &Counters::default())).lines().count()
        );
        assert!(text.contains("connecting 250 of 1,000") && text.contains("3 duplicated"), "{text}");
        assert!(!text.contains('\u{1b}'), "server text cannot move the cursor");
        assert_eq!(share(&troubled), 0.25);
    }
}
