//! Pages of all kinds of results: well-formed, self-contained, complete.

use super::page;
use crate::report::samples;
use crate::results::comparison::{Compared, Comparison, SlowComparison, SlowRound};
use crate::results::document::Document;
use crate::results::suite::{GoalResult, PartResult, SuiteResult};

fn compared(label: &str, factors: &[f64]) -> Compared {
    Compared { label: label.to_owned(), runs: factors.iter().map(|factor| samples::fanout(label, *factor)).collect() }
}

fn suite() -> SuiteResult {
    let goal = |met| GoalResult {
        figure: "latency p50".into(),
        value: Some(400.0),
        shown: "400 µs".into(),
        target: Some("≤ 400 µs".into()),
        met: Some(met),
    };
    let part = |name: &str, goals| PartResult {
        name: name.to_owned(),
        command: vec!["loadtest".into(), "fanout".into()],
        skipped: None,
        goals,
        run: Some(Box::new(samples::fanout("roomring", 1.0))),
        slow: None,
    };
    let slow = SlowComparison {
        rounds: vec![SlowRound { without: samples::fanout("roomring", 1.0), with: samples::fanout("roomring", 1.1) }],
    };
    SuiteResult {
        server: "roomring".into(),
        quick: false,
        parts: vec![
            part("open loop", vec![goal(true), goal(false)]),
            PartResult { slow: Some(slow), ..part("slow", vec![goal(true)]) },
            PartResult { skipped: Some("uws cannot: no recovery".into()), run: None, ..part("storm", Vec::new()) },
        ],
    }
}

fn documents() -> Vec<Document> {
    let round = SlowRound { without: samples::fanout("roomring", 1.0), with: samples::fanout("roomring", 1.3) };
    vec![
        Document::Run(Box::new(samples::fanout("roomring", 1.0))),
        Document::Compare(Comparison { servers: vec![compared("new", &[1.0, 1.1]), compared("old", &[1.9, 2.2])] }),
        Document::Slow(SlowComparison { rounds: vec![round] }),
        Document::Suite(suite()),
        Document::Edge(crate::report::edge::tests::sample()),
        Document::Compare(Comparison { servers: Vec::new() }),
    ]
}

/// The page and its captions, after checks that it loads nothing.
fn checked(documents: &[Document]) -> (String, Vec<String>) {
    let html = page(documents).expect("own histograms");
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..roxmltree::ParsingOptions::default() };
    let tree = roxmltree::Document::parse_with_options(&html, options).expect("well-formed");
    for node in tree.descendants().filter(roxmltree::Node::is_element) {
        assert!(!["script", "link", "img", "iframe", "object", "use", "image"].contains(&node.tag_name().name()));
        for attribute in node.attributes() {
            assert!(!["src", "href", "srcset", "style"].contains(&attribute.name()), "{attribute:?}");
            assert!(!attribute.name().starts_with("on"), "{attribute:?}");
            assert!(!attribute.value().contains("NaN") && !attribute.value().contains("inf"), "{attribute:?}");
        }
    }
    for outside in ["http://", "https://", "url(", "@import", "//cdn"] {
        assert!(!html.replace("ws://", "").contains(outside), "{outside} is in the page");
    }
    let captions = tree.descendants().filter(|node| ["figcaption", "h1", "h2", "h3"].contains(&node.tag_name().name()));
    let captions = captions
        .map(|node| node.descendants().filter(roxmltree::Node::is_text).filter_map(|child| child.text()).collect())
        .collect();
    (html, captions)
}

#[test]
fn every_page_is_well_formed_and_self_contained() {
    for document in documents() {
        checked(std::slice::from_ref(&document));
    }
    checked(&documents());
    checked(&[]);
}

#[test]
fn a_run_has_all_its_sections() {
    let (html, captions) = checked(&documents()[..1]);
    for wanted in [
        "Latency by percentile, per receiver",
        "Time to the last receiver of each publish, by percentile",
        "Throughput over time",
        "Latency over time",
        "CPU over time",
        "Memory over time",
        "Server CPU per delivery",
        "Memory per connection",
        "Percentiles",
        "Correctness, whole run",
        "Server's own counters, per delivery",
        "Conditions",
    ] {
        assert!(captions.iter().any(|caption| caption.contains(wanted)), "{wanted} is not among {captions:?}");
    }
    assert!(captions[0].contains("roomring: fanout") && captions[0].contains("VALID"), "{captions:?}");
    for wanted in ["99.9 %", "warm-up", "seed", "net.core.somaxconn", "2026-11-22", "a=&quot;&lt;b&gt;&amp;c&quot;"] {
        assert!(html.contains(wanted), "{wanted} is not in the page");
    }
}

#[test]
fn a_comparison_has_bars_ratios_and_curves() {
    let (html, captions) = checked(&documents()[1..2]);
    for wanted in
        ["Latency, by percentile", "Deliveries per CPU-second", "Private memory per connection", "Latency p99"]
    {
        assert!(captions.iter().any(|caption| caption == wanted), "{wanted} is not among {captions:?}");
    }
    assert!(html.contains("× 0.5") && html.contains("class=\"range\"") && html.contains("class=\"line c1\""));
}

#[test]
fn single_runs_of_one_scenario_are_compared() {
    let run = |name: &str, factor| Document::Run(Box::new(samples::fanout(name, factor)));
    let (_, captions) = checked(&[run("new", 1.0), run("old", 2.0)]);
    assert!(captions[0].starts_with("Comparison"), "{captions:?}");
    let (_, captions) = checked(&[run("new", 1.0), run("new", 2.0)]);
    assert!(!captions.iter().any(|caption| caption.starts_with("Comparison")), "one server alone");
}

#[test]
fn a_suite_shows_each_verdict() {
    let (html, captions) = checked(&documents()[3..4]);
    assert!(captions.iter().any(|caption| caption.starts_with("Slow readers")), "{captions:?}");
    for wanted in ["2 of 3 targets met", "badge good\">met", "badge bad\">missed", "not run: uws cannot: no recovery"] {
        assert!(html.contains(wanted), "{wanted} is not in the page");
    }
}

#[test]
fn external_text_is_escaped_everywhere() {
    let hostile = "<img src=x onerror=alert(1)>";
    let mut run = samples::fanout(hostile, 1.0);
    let summary = run.durations["latency"];
    let kept = run.histograms["latency"].clone();
    run.durations.insert(hostile.into(), summary);
    run.histograms.insert(hostile.into(), kept);
    run.complaints = vec![hostile.into()];
    run.verdict.valid = false;
    run.verdict.reasons = vec![hostile.into()];
    run.verdict.notes = vec![hostile.into()];
    run.host.cpu = hostile.into();
    run.program.as_mut().expect("there").version = Some(hostile.into());
    let server = Compared { label: hostile.into(), runs: vec![run.clone()] };
    let all = [Document::Run(Box::new(run)), Document::Compare(Comparison { servers: vec![server] })];
    let (html, _) = checked(&all);
    assert!(!html.contains("<img"), "markup came through");
    run_without_figures();
}

/// A run without figures of the server and without work.
fn run_without_figures() {
    let mut bare = samples::fanout("bare", 1.0);
    (bare.server, bare.metrics, bare.program) = (None, None, None);
    bare.per_unit.clear();
    bare.durations.clear();
    bare.histograms.clear();
    bare.series.clear();
    bare.measured = crate::measure::counters::Counters::default();
    checked(&[Document::Run(Box::new(bare))]);
}
