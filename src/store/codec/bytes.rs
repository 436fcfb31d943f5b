//! Integers, texts and options as bytes: little-endian, lengths before what they measure. Never allocates more than the bytes
//! that it reads.

use bytes::Bytes;

use crate::base::ids::{NameError, RoomName, UserName};

/// Bytes that are not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end within a field.
    #[error("the bytes end at offset {offset}, within {field}")]
    Short {
        /// The field.
        field: &'static str,
        /// Where it begins.
        offset: usize,
    },
    /// A byte that stands for one of several things stands for none.
    #[error("the byte {byte} at offset {offset} is no {field}")]
    Unknown {
        /// What it should be.
        field: &'static str,
        /// The byte.
        byte: u8,
        /// Where it is.
        offset: usize,
    },
    /// A text that is not UTF-8.
    #[error("{field} at offset {offset} is not UTF-8")]
    NotUtf8 {
        /// The field.
        field: &'static str,
        /// Where it begins.
        offset: usize,
    },
    /// A name that no room or user can have.
    #[error("{field} at offset {offset} {why}")]
    Name {
        /// The field.
        field: &'static str,
        /// Where it begins.
        offset: usize,
        /// The rule that it breaks.
        why: NameError,
    },
    /// Bytes follow the last field.
    #[error("{count} bytes follow the last field, which ends at offset {offset}")]
    Long {
        /// Where they begin.
        offset: usize,
        /// How many.
        count: usize,
    },
}

/// Writes fields behind each other.
#[derive(Debug)]
pub struct Writer<'a>(pub &'a mut Vec<u8>);

impl Writer<'_> {
    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Sixteen bytes.
    pub fn u128(&mut self, value: u128) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// One byte, 0 or 1.
    pub fn flag(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    /// A length and as many bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        let length = u32::try_from(value.len()).expect("limits.max_message_bytes keeps every field far below 4 GiB");
        self.u32(length);
        self.0.extend_from_slice(value);
    }

    /// A text.
    pub fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// A byte 0 or 1, then the value if there is one.
    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }
}

/// Reads fields behind each other, with the name of each for errors.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a Bytes,
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the first byte.
    #[must_use]
    pub fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Says that the last field has been read.
    ///
    /// # Errors
    /// There are more bytes.
    pub fn end(self) -> Result<(), DecodeError> {
        match self.bytes.len() - self.offset {
            0 => Ok(()),
            count => Err(DecodeError::Long { offset: self.offset, count }),
        }
    }

    fn take(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let short = DecodeError::Short { field, offset: self.offset };
        let taken = self.bytes[self.offset..].get(..length).ok_or(short)?;
        self.offset += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let taken = self.take(N, field)?;
        Ok(taken.try_into().expect("as many bytes were taken"))
    }

    /// One byte.
    ///
    /// # Errors
    /// The bytes end before.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        Ok(self.array::<1>(field)?[0])
    }

    /// Four bytes.
    ///
    /// # Errors
    /// The bytes end before.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// The bytes end before.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }

    /// Sixteen bytes.
    ///
    /// # Errors
    /// The bytes end before.
    pub fn u128(&mut self, field: &'static str) -> Result<u128, DecodeError> {
        Ok(u128::from_le_bytes(self.array(field)?))
    }

    /// Thirty-two bytes as they are.
    ///
    /// # Errors
    /// The bytes end before.
    pub fn key(&mut self, field: &'static str) -> Result<[u8; 32], DecodeError> {
        self.array(field)
    }

    /// A byte that stands for one of several things.
    ///
    /// # Errors
    /// The bytes end before, or the byte stands for none.
    pub fn choice<T>(&mut self, field: &'static str, choose: impl Fn(u8) -> Option<T>) -> Result<T, DecodeError> {
        let offset = self.offset;
        let byte = self.u8(field)?;
        choose(byte).ok_or(DecodeError::Unknown { field, byte, offset })
    }

    /// A byte 0 or 1.
    ///
    /// # Errors
    /// The bytes end before, or it is another byte.
    pub fn flag(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        self.choice(field, |byte| match byte {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        })
    }

    /// A length and as many bytes, shared with what is read from.
    ///
    /// # Errors
    /// The bytes end before.
    pub fn bytes(&mut self, field: &'static str) -> Result<Bytes, DecodeError> {
        let length = self.u32(field)? as usize;
        let start = self.offset;
        self.take(length, field)?;
        Ok(self.bytes.slice(start..self.offset))
    }

    fn str(&mut self, field: &'static str) -> Result<(&'a str, usize), DecodeError> {
        let length = self.u32(field)? as usize;
        let offset = self.offset;
        let taken = self.take(length, field)?;
        let text = std::str::from_utf8(taken).map_err(|_| DecodeError::NotUtf8 { field, offset })?;
        Ok((text, offset))
    }

    /// A text.
    ///
    /// # Errors
    /// The bytes end before, or are not UTF-8.
    pub fn text(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        self.str(field).map(|(text, _)| text)
    }

    /// A room's name.
    ///
    /// # Errors
    /// The bytes end before, or are no name.
    pub fn room(&mut self, field: &'static str) -> Result<RoomName, DecodeError> {
        let (text, offset) = self.str(field)?;
        RoomName::new(text).map_err(|why| DecodeError::Name { field, offset, why })
    }

    /// A user's name.
    ///
    /// # Errors
    /// The bytes end before, or are no name.
    pub fn user(&mut self, field: &'static str) -> Result<UserName, DecodeError> {
        let (text, offset) = self.str(field)?;
        UserName::new(text).map_err(|why| DecodeError::Name { field, offset, why })
    }

    /// A byte 0 or 1, then the value if there is one.
    ///
    /// # Errors
    /// The bytes end before, or the value is wrong.
    pub fn option<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.flag(field)? { read(self).map(Some) } else { Ok(None) }
    }
}
