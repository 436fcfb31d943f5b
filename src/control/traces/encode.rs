//! Encodes spans as OTLP in JSON (OpenTelemetry protocol 1.x, "JSON Protobuf Encoding": ids in hexadecimal, 64-bit numbers
//! as text, enums as numbers). JSON rather than protobuf: collectors accept both over HTTP, and protobuf would bring a dozen
//! crates for a few hundred spans a second. Sends nothing.

use serde::Serialize;

use crate::engine::trace::{Span, Stage};

/// The body of one request. `wall_offset_us` added to a monotonic time gives Unix time.
pub fn request(spans: &[Span], node: &str, wall_offset_us: u64) -> Vec<u8> {
    let resource = Resource {
        attributes: vec![
            Attribute::text("service.name", "roomring"),
            Attribute::text("service.version", env!("CARGO_PKG_VERSION")),
            Attribute::text("service.instance.id", node),
            Attribute::text("host.name", node),
        ],
    };
    let scope = Scope { name: "roomring", version: env!("CARGO_PKG_VERSION") };
    let spans = spans.iter().map(|span| OtlpSpan::of(span, wall_offset_us)).collect();
    let request =
        ExportRequest { resource_spans: [ResourceSpans { resource, scope_spans: [ScopeSpans { scope, spans }] }] };
    serde_json::to_vec(&request).expect("maps with text keys only")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExportRequest {
    resource_spans: [ResourceSpans; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans {
    resource: Resource,
    scope_spans: [ScopeSpans; 1],
}

#[derive(Serialize)]
struct Resource {
    attributes: Vec<Attribute>,
}

#[derive(Serialize)]
struct ScopeSpans {
    scope: Scope,
    spans: Vec<OtlpSpan>,
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct Attribute {
    key: &'static str,
    value: AnyValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum AnyValue {
    StringValue(String),
    /// 64-bit numbers are written as text.
    IntValue(String),
}

impl Attribute {
    fn text(key: &'static str, value: &str) -> Self {
        Self { key, value: AnyValue::StringValue(value.to_owned()) }
    }

    fn number(key: &'static str, value: u64) -> Self {
        Self { key, value: AnyValue::IntValue(value.to_string()) }
    }
}

/// Values of the protocol's `SpanKind`.
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
const PRODUCER: u8 = 4;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OtlpSpan {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    name: &'static str,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute>,
}

impl OtlpSpan {
    fn of(span: &Span, wall_offset_us: u64) -> Self {
        let mut attributes =
            vec![Attribute::text("roomring.room", &span.room), Attribute::number("roomring.core", span.core.0.into())];
        let (name, kind) = match &span.stage {
            Stage::Received { conn, user, bytes } => {
                attributes.push(Attribute::text("roomring.connection", &conn.to_string()));
                attributes.push(Attribute::text("enduser.id", user));
                attributes.push(Attribute::number("messaging.message.body.size", *bytes as u64));
                ("receive", SERVER)
            }
            Stage::Numbered { seq, listeners } => {
                attributes.push(Attribute::number("roomring.seq", *seq));
                attributes.push(Attribute::number("roomring.listening_cores", *listeners as u64));
                ("number", INTERNAL)
            }
            Stage::Flushed { seq, deliveries } => {
                attributes.push(Attribute::number("roomring.seq", *seq));
                attributes.push(Attribute::number("roomring.deliveries", *deliveries));
                ("flush", PRODUCER)
            }
        };
        let wall_ns = |mono_us: u64| ((mono_us + wall_offset_us) * 1_000).to_string();
        Self {
            trace_id: format!("{:032x}", span.trace_id()),
            span_id: format!("{:016x}", span.id()),
            parent_span_id: span.parent_id().map(|parent| format!("{parent:016x}")),
            name,
            kind,
            start_time_unix_nano: wall_ns(span.began_us),
            end_time_unix_nano: wall_ns(span.ended_us),
            attributes,
        }
    }
}
