//! Reads commands in the binary form (PROTOCOL section 6): a little-endian op and its payload.

use std::borrow::Cow;

use bytes::Bytes;

use super::command_op;
use crate::base::codes::ErrorCode;
use crate::base::ids::{Epoch, check_name};
use crate::wire::form::Form;
use crate::wire::protocol::{Ask, BadRequest, Command, Publish, Recover, ReplyTo, Request};
use crate::wire::publication::DataKind;

const REPLY: ReplyTo = ReplyTo { id: None, form: Form::Binary };

/// Reads one binary message. Bytes after a complete `ping` are ignored, as unknown fields of the JSON form are.
///
/// # Errors
/// The message is not a valid command.
pub fn parse_command(message: &[u8]) -> Result<Request<'_>, BadRequest> {
    let mut rest = message;
    let command = match u32::from_le_bytes(take(&mut rest, "op")?) {
        command_op::JOIN => Command::Join { room: room(rest)?, recover: None, history: None, invite: None },
        command_op::LEAVE => Command::Leave { room: room(rest)? },
        command_op::PUBLISH => publish(rest)?,
        command_op::JOIN_FROM => {
            let seq = u64::from_le_bytes(take(&mut rest, "last_received_seq")?);
            let epoch = u64::from_le_bytes(take(&mut rest, "epoch")?);
            let epoch = (epoch != 0).then_some(Epoch(epoch));
            Command::Join { room: room(rest)?, recover: Some(Recover { seq, epoch }), history: None, invite: None }
        }
        command_op::PING => Command::Ping { value: u64::from_le_bytes(take(&mut rest, "value")?) },
        unknown => {
            let message = format!("unknown op {unknown}");
            return Err(BadRequest { reply: REPLY, code: ErrorCode::UnknownCommand, message });
        }
    };
    Ok(Request { reply: REPLY, command })
}

fn publish(payload: &[u8]) -> Result<Command<'_>, BadRequest> {
    let mut rest = payload;
    let room_len = usize::from(u16::from_le_bytes(take(&mut rest, "room length")?));
    let Some((name, data)) = rest.split_at_checked(room_len) else {
        return Err(bad(format!("`room` has a length of {room_len} bytes, but only {} follow", rest.len())));
    };
    let room = room(name)?;
    let data = Bytes::copy_from_slice(data);
    let publish = Publish { kind: DataKind::Binary, data, key: None, echo: true, ephemeral: false };
    Ok(Command::Ask { room, ask: Ask::Publish(publish) })
}

fn room(name: &[u8]) -> Result<Cow<'_, str>, BadRequest> {
    let name = simdutf8::basic::from_utf8(name).map_err(|_| bad("`room` is not UTF-8".to_owned()))?;
    check_name(name).map_err(|error| bad(format!("`room` {error}")))?;
    Ok(Cow::Borrowed(name))
}

/// Takes a field of fixed size from the front of `rest`.
fn take<const N: usize>(rest: &mut &[u8], field: &str) -> Result<[u8; N], BadRequest> {
    let Some((field, after)) = rest.split_first_chunk::<N>() else {
        return Err(bad(format!("the message ends before the end of `{field}`")));
    };
    *rest = after;
    Ok(*field)
}

#[cold]
fn bad(message: String) -> BadRequest {
    BadRequest { reply: REPLY, code: ErrorCode::BadCommand, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(op: u32, pieces: &[&[u8]]) -> Vec<u8> {
        let mut message = op.to_le_bytes().to_vec();
        pieces.iter().for_each(|piece| message.extend_from_slice(piece));
        message
    }

    fn error_of(message: &[u8]) -> (ErrorCode, String) {
        let error = parse_command(message).expect_err("a bad command");
        assert_eq!(error.reply, REPLY);
        (error.code, error.message)
    }

    #[test]
    fn commands_are_read() {
        let room = Cow::Borrowed("räume");
        let name = "räume".as_bytes();
        let cases = [
            (message(1, &[name]), Command::Join { room: room.clone(), recover: None, history: None, invite: None }),
            (message(2, &[name]), Command::Leave { room: room.clone() }),
            (message(5, &[&7_u64.to_le_bytes()]), Command::Ping { value: 7 }),
            (message(5, &[&7_u64.to_le_bytes(), b"later fields"]), Command::Ping { value: 7 }),
            (
                message(4, &[&9_u64.to_le_bytes(), &3_u64.to_le_bytes(), name]),
                Command::Join {
                    room: room.clone(),
                    recover: Some(Recover { seq: 9, epoch: Some(Epoch(3)) }),
                    history: None,
                    invite: None,
                },
            ),
            (
                message(4, &[&0_u64.to_le_bytes(), &0_u64.to_le_bytes(), name]),
                Command::Join {
                    room: room.clone(),
                    recover: Some(Recover { seq: 0, epoch: None }),
                    history: None,
                    invite: None,
                },
            ),
        ];
        for (bytes, command) in cases {
            assert_eq!(parse_command(&bytes), Ok(Request { reply: REPLY, command }));
        }
    }

    #[test]
    fn published_data_is_any_bytes_and_may_be_empty() {
        for data in [&b""[..], b"\xff\x00"] {
            let bytes = message(3, &[&1_u16.to_le_bytes(), b"r", data]);
            let Ok(Request { command: Command::Ask { room, ask: Ask::Publish(publish) }, .. }) = parse_command(&bytes)
            else {
                panic!("a publish");
            };
            let Publish { kind, data: read, key, echo, ephemeral } = publish;
            assert_eq!((&*room, kind, &read[..]), ("r", DataKind::Binary, data));
            assert_eq!((key, echo, ephemeral), (None, true, false));
        }
    }

    #[test]
    fn errors_name_the_field() {
        let long = [b'x'; 129];
        let cases = [
            (vec![], "op"),
            (vec![1, 0, 0], "op"),
            (message(1, &[]), "room"),
            (message(1, &[b"a\n"]), "room"),
            (message(1, &[b"\xff"]), "room"),
            (message(2, &[&long]), "room"),
            (message(3, &[b"\x01"]), "room length"),
            (message(3, &[&5_u16.to_le_bytes(), b"four"]), "room"),
            (message(3, &[&0_u16.to_le_bytes(), b"data"]), "room"),
            (message(4, &[&[0; 7]]), "last_received_seq"),
            (message(4, &[&[0; 15]]), "epoch"),
            (message(4, &[&[0; 16]]), "room"),
            (message(5, &[&[0; 7]]), "value"),
        ];
        for (bytes, field) in cases {
            let (code, text) = error_of(&bytes);
            assert_eq!(code, ErrorCode::BadCommand);
            assert!(text.contains(&format!("`{field}`")), "{text} names {field}");
        }
    }

    #[test]
    fn unknown_ops_have_their_own_code() {
        for op in [0, 6, 128, u32::MAX] {
            assert_eq!(error_of(&message(op, &[])), (ErrorCode::UnknownCommand, format!("unknown op {op}")));
        }
    }
}
