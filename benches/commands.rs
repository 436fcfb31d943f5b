//! Reads commands in the JSON form and the binary form. Data is found and checked, never copied.
//! `cargo bench --bench commands`.

use std::time::Duration;

use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher, black_box};
use roomring::wire::binary::{self, command_op};
use roomring::wire::json;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const ROOM: &str = "room-00042";
const SIZES: [usize; 5] = [32, 128, 1_024, 16_384, 65_536];

fn main() {
    // Long enough for the resolution of the clock, even if the first call is cold.
    divan::Divan::default().sample_size(64).min_time(Duration::from_millis(100)).config_with_args().main();
}

/// A publish of a string.
#[divan::bench(args = SIZES)]
fn json_publish(bencher: Bencher<'_, '_>, size: usize) {
    let data = "x".repeat(size - 2);
    parse_json(bencher, &format!(r#"{{"type":"publish","room":"{ROOM}","data":"{data}"}}"#));
}

/// A publish of an object with many small fields, with an id and a key.
#[divan::bench(args = SIZES)]
fn json_publish_of_objects(bencher: Bencher<'_, '_>, size: usize) {
    let field = r#""x":[12,-3.5,true,null,"a"],"#;
    let fields = field.repeat(size / field.len());
    let data = format!(r#"{{{fields}"y":0}}"#);
    parse_json(bencher, &format!(r#"{{"type":"publish","id":7,"room":"{ROOM}","key":"k-1","data":{data}}}"#));
}

/// A join that recovers from a position.
#[divan::bench]
fn json_join(bencher: Bencher<'_, '_>) {
    let position = r#""last_received_seq":1234567,"epoch":"0123456789abcdef""#;
    parse_json(bencher, &format!(r#"{{"type":"join","id":7,"room":"{ROOM}",{position}}}"#));
}

/// A page of history.
#[divan::bench]
fn json_history(bencher: Bencher<'_, '_>) {
    parse_json(bencher, &format!(r#"{{"type":"history","id":7,"room":"{ROOM}","before":1234567,"limit":100}}"#));
}

/// The shortest command.
#[divan::bench]
fn json_ping(bencher: Bencher<'_, '_>) {
    parse_json(bencher, r#"{"type":"ping","id":7}"#);
}

/// A publish of any bytes.
#[divan::bench(args = SIZES)]
fn binary_publish(bencher: Bencher<'_, '_>, size: usize) {
    let mut message = command_op::PUBLISH.to_le_bytes().to_vec();
    message.extend((ROOM.len() as u16).to_le_bytes());
    message.extend(ROOM.as_bytes());
    message.resize(message.len() + size, 7);
    parse_binary(bencher, &message);
}

/// A join that recovers from a position.
#[divan::bench]
fn binary_join_from(bencher: Bencher<'_, '_>) {
    let mut message = command_op::JOIN_FROM.to_le_bytes().to_vec();
    message.extend(1_234_567_u64.to_le_bytes());
    message.extend(0x0123_4567_89ab_cdef_u64.to_le_bytes());
    message.extend(ROOM.as_bytes());
    parse_binary(bencher, &message);
}

fn parse_json(bencher: Bencher<'_, '_>, text: &str) {
    json::parse_command(text).expect("a command");
    bencher.counter(BytesCount::new(text.len())).bench_local(|| drop(black_box(json::parse_command(black_box(text)))));
}

fn parse_binary(bencher: Bencher<'_, '_>, message: &[u8]) {
    binary::parse_command(message).expect("a command");
    bencher
        .counter(BytesCount::new(message.len()))
        .bench_local(|| drop(black_box(binary::parse_command(black_box(message)))));
}
