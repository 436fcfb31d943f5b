//! One pass over a command's object: the raw text of each field that some command knows. Judges no value.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::base::limits::COMMAND_FIELDS_MAX;

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
    /// Fields that came, whether some command knows them or not.
    count: usize,
    /// A known field that came more than once: the `id` if it did, otherwise the first that did.
    pub(super) repeated: Option<Field>,
}

impl<'a> Fields<'a> {
    /// Reads a whole text as one object. Nested values are skipped without recursion, however deep.
    ///
    /// # Errors
    /// What is wrong with it, without anything of what it says.
    pub(super) fn read(text: &'a str) -> Result<Self, String> {
        let mut fields = Fields::default();
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let read = deserializer.deserialize_map(FieldsVisitor(&mut fields)).and_then(|()| deserializer.end());
        match read {
            Ok(()) => Ok(fields),
            Err(_) if fields.count > COMMAND_FIELDS_MAX => {
                Err(format!("a command has at most {COMMAND_FIELDS_MAX} fields"))
            }
            // The text of a syntax error holds nothing of the input; that of a wrong type would repeat it at any length.
            Err(error) if error.is_data() => Err("not a JSON object".to_owned()),
            Err(error) => Err(format!("not a JSON object: {error}")),
        }
    }

    /// The field's value, if it is there.
    pub(super) fn get(&self, field: Field) -> Option<&'a RawValue> {
        self.values[field as usize]
    }
}

struct FieldsVisitor<'f, 'a>(&'f mut Fields<'a>);

impl<'a> Visitor<'a> for FieldsVisitor<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(fields) = self;
        while let Some(FieldName(field)) = map.next_key()? {
            fields.count += 1;
            if fields.count > COMMAND_FIELDS_MAX {
                return Err(A::Error::custom("too many fields"));
            }
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
        Ok(())
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
