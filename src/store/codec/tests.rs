//! Fields read back as they were written, and whatever else is there is an error.

use bytes::Bytes;

use super::bytes::{DecodeError, Reader, Writer};

fn written(write: impl FnOnce(&mut Writer<'_>)) -> Bytes {
    let mut out = Vec::new();
    write(&mut Writer(&mut out));
    Bytes::from(out)
}

#[test]
fn fields_read_back() {
    let bytes = written(|out| {
        out.u8(7);
        out.u32(u32::MAX - 1);
        out.u64(u64::MAX - 2);
        out.u128(u128::MAX - 3);
        out.flag(true);
        out.text("zwölf");
        out.option(None::<u64>, |out, value| out.u64(value));
        out.option(Some(5), |out, value| out.u64(value));
        out.bytes(b"");
    });
    let mut from = Reader::new(&bytes);
    assert_eq!(from.u8("a"), Ok(7));
    assert_eq!(from.u32("a"), Ok(u32::MAX - 1));
    assert_eq!(from.u64("a"), Ok(u64::MAX - 2));
    assert_eq!(from.u128("a"), Ok(u128::MAX - 3));
    assert_eq!(from.flag("a"), Ok(true));
    assert_eq!(from.text("a"), Ok("zwölf"));
    assert_eq!(from.option("a", |from| from.u64("a")), Ok(None));
    assert_eq!(from.option("a", |from| from.u64("a")), Ok(Some(5)));
    assert_eq!(from.bytes("a"), Ok(Bytes::new()));
    assert_eq!(from.end(), Ok(()));
}

#[test]
fn errors_say_what_is_wrong_and_where() {
    let bytes = written(|out| {
        out.flag(true);
        out.u32(u32::MAX);
    });
    let mut from = Reader::new(&bytes);
    assert_eq!(from.flag("a lock"), Ok(true));
    // A length of 4 GiB is held against what is there before anything is made of it.
    assert_eq!(from.bytes("a title"), Err(DecodeError::Short { field: "a title", offset: 5 }));
    let error = DecodeError::Short { field: "a title", offset: 5 };
    assert_eq!(error.to_string(), "the bytes end at offset 5, within a title");

    let bytes = Bytes::from_static(&[2, 1, 0, 0, 0, 0xff, 2, 0, 0, 0, b'a', b'\n', 9]);
    let mut from = Reader::new(&bytes);
    assert_eq!(from.flag("flag").expect_err("2 is no flag").to_string(), "the byte 2 at offset 0 is no flag");
    assert_eq!(from.text("a title").expect_err("not UTF-8").to_string(), "a title at offset 5 is not UTF-8");
    let error = from.room("a room").expect_err("no name").to_string();
    assert_eq!(error, "a room at offset 10 must not contain control characters");
    let error = from.end().expect_err("a byte is left").to_string();
    assert_eq!(error, "1 bytes follow the last field, which ends at offset 12");
}
