//! Encodes the server's messages into finished frames: publications in one form and in both, replies, pushes, control
//! frames. `cargo bench --bench encode`.

use std::time::Duration;

use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher, black_box};
use roomring::base::ids::{Epoch, RoomName, UserName};
use roomring::wire::encode::{encode_push, encode_reply};
use roomring::wire::form::{Form, Forms};
use roomring::wire::frame::{Opcode, close_frame, server_frame};
use roomring::wire::protocol::{Answer, Push, Reply, ReplyTo};
use roomring::wire::publication::{Content, Data, DataKind, Publication};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const SIZES: [usize; 5] = [32, 128, 1_024, 16_384, 65_536];

fn main() {
    // Long enough for the resolution of the clock, even if the first call is cold.
    divan::Divan::default().sample_size(64).min_time(Duration::from_millis(100)).config_with_args().main();
}

/// Data written in JSON, for members that read JSON.
#[divan::bench(args = SIZES)]
fn publication_json(bencher: Bencher<'_, '_>, size: usize) {
    publication(bencher, DataKind::Json, Form::Json.into(), size);
}

/// Data written in binary, for members that read binary.
#[divan::bench(args = SIZES)]
fn publication_binary(bencher: Bencher<'_, '_>, size: usize) {
    publication(bencher, DataKind::Binary, Form::Binary.into(), size);
}

/// Data written in JSON, for members of both forms.
#[divan::bench(args = SIZES)]
fn publication_json_for_both(bencher: Bencher<'_, '_>, size: usize) {
    publication(bencher, DataKind::Json, Forms::ALL, size);
}

/// Data written in binary, for members of both forms: base64 in JSON.
#[divan::bench(args = SIZES)]
fn publication_binary_for_both(bencher: Bencher<'_, '_>, size: usize) {
    publication(bencher, DataKind::Binary, Forms::ALL, size);
}

fn publication(bencher: Bencher<'_, '_>, kind: DataKind, forms: Forms, size: usize) {
    let (room, from) = names();
    let data = format!("\"{}\"", "x".repeat(size - 2));
    let data = Data { kind, bytes: data.as_bytes() };
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        let content = Content::new(&room, black_box(1_234_567), &from, 1_700_000_000_000, data);
        // Dropped at once, because many large publications alive at the same time would measure the allocator.
        drop(black_box(Publication::encode(black_box(&content), forms)));
    });
}

/// The reply to a publish.
#[divan::bench(args = Form::ALL)]
fn reply_published(bencher: Bencher<'_, '_>, form: Form) {
    let to = ReplyTo { id: (form == Form::Json).then_some(7), form };
    let epoch = Epoch(0x0123_4567_89ab_cdef);
    let (room, answer) = (names().0, Answer::Published { epoch, seq: Some(1_234_567), duplicate: false });
    let reply = Reply::Answer { room: &room, answer: &answer };
    bencher.bench_local(|| encode_reply(black_box(&reply), to));
}

/// A gap.
#[divan::bench(args = Form::ALL)]
fn push_gap(bencher: Bencher<'_, '_>, form: Form) {
    let (room, _) = names();
    bencher.bench_local(|| encode_push(black_box(&Push::Gap { room: &room, from: 1_234_567, to: 1_234_890 }), form));
}

/// A heartbeat.
#[divan::bench]
fn ping_frame(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| server_frame(Opcode::Ping, black_box(&[1, 2, 3, 4, 5, 6, 7, 8])));
}

/// A close.
#[divan::bench]
fn close(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| close_frame(black_box(1000), black_box("bye")));
}

fn names() -> (RoomName, UserName) {
    (RoomName::new("room-00042").expect("valid"), UserName::new("alice").expect("valid"))
}
