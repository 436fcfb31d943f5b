//! One pass over a command's object: the raw text of each field that some command knows. Judges no value.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

macro_rules! fields {
    ($($variant:ident = $name:literal,)*) => {
        /// A field that some command knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Field {
            $($variant,)*
        }

        const FIELDS: usize = [$($name),*].len();

        impl Field {
            /// As it is written.
            pub(super) const fn name(self) -> &'static str {
                match self {
                    $(Field::$variant => $name,)*
                }
            }

            fn from_name(name: &str) -> Option<Field> {
                match name {
                    $($name => Some(Field::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

fields! {
    Type = "type",
    Id = "id",
    Room = "room",
    Data = "data",
    Key = "key",
    Echo = "echo",
    Ephemeral = "ephemeral",
    LastReceivedSeq = "last_received_seq",
    Epoch = "epoch",
    History = "history",
    After = "after",
    Before = "before",
    Limit = "limit",
    Status = "status",
    Token = "token",
}

/// The known fields of one object, as written.
#[derive(Default)]
pub(super) struct Fields<'a> {
    values: [Option<&'a RawValue>; FIELDS],
    /// A known field that came more than once: the `id` if it did, otherwise the first that did.
    pub(super) repeated: Option<Field>,
}

impl<'a> Fields<'a> {
    /// Reads a whole text as one object. Nested values are skipped without recursion, however deep.
    pub(super) fn read(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The field's value, if it is there.
    pub(super) fn get(&self, field: Field) -> Option<&'a RawValue> {
        self.values[field as usize]
    }
}

impl<'a> Deserialize<'a> for Fields<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'a> Visitor<'a> for FieldsVisitor {
    type Value = Fields<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Fields<'a>, A::Error> {
        let mut fields = Fields::default();
        while let Some(FieldName(field)) = map.next_key()? {
            let Some(field) = field else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = map.next_value()?;
            let before = fields.values[field as usize].replace(value);
            if before.is_some() && (fields.repeated.is_none() || field == Field::Id) {
                fields.repeated = Some(field);
            }
        }
        Ok(fields)
    }
}

/// A field's name, looked up without copying it.
struct FieldName(Option<Field>);

impl<'a> Deserialize<'a> for FieldName {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(FieldNameVisitor)
    }
}

struct FieldNameVisitor;

impl Visitor<'_> for FieldNameVisitor {
    type Value = FieldName;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<FieldName, E> {
        Ok(FieldName(Field::from_name(name)))
    }
}
