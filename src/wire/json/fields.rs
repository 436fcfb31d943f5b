//! Reads a command's object in one pass: the raw text of each known field. Never judges a value.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::base::limits::COMMAND_FIELDS_MAX;

/// The fields that some command knows.
pub(super) trait KnownField: Copy + PartialEq {
    /// The `id`, whose repetition is reported before that of other fields.
    const ID: Self;

    /// The field with this name.
    fn from_name(name: &str) -> Option<Self>;

    /// Place in [`Fields`].
    fn index(self) -> usize;
}

/// Declares an enum of fields by their names, with `COUNT` and [`KnownField`].
macro_rules! fields {
    ($(#[$doc:meta])* enum $Fields:ident { $($variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum $Fields {
            $($variant,)*
        }

        impl $Fields {
            const COUNT: usize = [$($name),*].len();

            const fn name(self) -> &'static str {
                match self {
                    $($Fields::$variant => $name,)*
                }
            }
        }

        impl $crate::wire::json::fields::KnownField for $Fields {
            const ID: Self = $Fields::Id;

            fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some($Fields::$variant),)*
                    _ => None,
                }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}
pub(super) use fields;

/// The known fields of one object, as written.
pub(super) struct Fields<'a, F, const COUNT: usize> {
    values: [Option<&'a RawValue>; COUNT],
    /// Number of fields in the object, known or not.
    count: usize,
    /// A known field that occurs more than once: the `id` if it does, otherwise the first such field.
    pub(super) repeated: Option<F>,
}

impl<'a, F: KnownField, const COUNT: usize> Fields<'a, F, COUNT> {
    /// Reads a whole text as one object. Nested values are skipped without recursion, at any depth.
    ///
    /// # Errors
    /// The text is not an object. The error repeats none of the text.
    pub(super) fn read(text: &'a str) -> Result<Self, String> {
        let mut fields = Fields { values: [None; COUNT], count: 0, repeated: None };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let read = deserializer.deserialize_map(FieldsVisitor(&mut fields)).and_then(|()| deserializer.end());
        match read {
            Ok(()) => Ok(fields),
            Err(_) if fields.count > COMMAND_FIELDS_MAX => {
                Err(format!("a command has at most {COMMAND_FIELDS_MAX} fields"))
            }
            // The text of a syntax error repeats nothing of the input; that of a wrong type would, at any length.
            Err(error) if error.is_data() => Err("not a JSON object".to_owned()),
            Err(error) => Err(format!("not a JSON object: {error}")),
        }
    }

    /// The field's value, if the object has the field.
    pub(super) fn get(&self, field: F) -> Option<&'a RawValue> {
        self.values[field.index()]
    }
}

struct FieldsVisitor<'f, 'a, F, const COUNT: usize>(&'f mut Fields<'a, F, COUNT>);

impl<'a, F: KnownField, const COUNT: usize> Visitor<'a> for FieldsVisitor<'_, 'a, F, COUNT> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(fields) = self;
        while let Some(FieldName(field)) = map.next_key::<FieldName<F>>()? {
            fields.count += 1;
            if fields.count > COMMAND_FIELDS_MAX {
                return Err(A::Error::custom("too many fields"));
            }
            let Some(field) = field else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = map.next_value()?;
            let before = fields.values[field.index()].replace(value);
            if before.is_some() && (fields.repeated.is_none() || field == F::ID) {
                fields.repeated = Some(field);
            }
        }
        Ok(())
    }
}

/// A field's name, looked up without copying it.
struct FieldName<F>(Option<F>);

impl<'a, F: KnownField> Deserialize<'a> for FieldName<F> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(FieldNameVisitor(PhantomData))
    }
}

struct FieldNameVisitor<F>(PhantomData<F>);

impl<F: KnownField> Visitor<'_> for FieldNameVisitor<F> {
    type Value = FieldName<F>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<FieldName<F>, E> {
        Ok(FieldName(F::from_name(name)))
    }
}
