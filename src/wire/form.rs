//! The forms of messages, sets of forms, and frames by form. A new form is a variant of [`Form`], a line in its two tables, a
//! folder like `json` and `binary`, and a line in the table of `encode`. Never writes a message.

use bytes::Bytes;

use super::frame::Opcode;

/// One of the forms in which commands, replies and pushes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Form {
    /// Text messages of JSON.
    Json,
    /// Binary messages (PROTOCOL section 6).
    Binary,
}

/// The properties of one form.
struct FormFacts {
    name: &'static str,
    opcode: Opcode,
    /// Whether commands without an `id` are answered if they succeed.
    replies_without_id: bool,
}

/// In the order of [`Form::ALL`].
static FACTS: [FormFacts; Form::COUNT] = [
    FormFacts { name: "json", opcode: Opcode::Text, replies_without_id: false },
    FormFacts { name: "binary", opcode: Opcode::Binary, replies_without_id: true },
];

impl Form {
    /// Every form, each at its [index](Form::index).
    pub const ALL: [Form; 2] = [Form::Json, Form::Binary];

    /// Number of forms.
    pub const COUNT: usize = Self::ALL.len();

    /// Index in tables by form.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    const fn facts(self) -> &'static FormFacts {
        &FACTS[self.index()]
    }

    /// Name in the control API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// Opcode of the frames that carry its messages.
    #[must_use]
    pub const fn opcode(self) -> Opcode {
        self.facts().opcode
    }

    /// Whether a command without an `id` is answered if it succeeds.
    #[must_use]
    pub const fn replies_without_id(self) -> bool {
        self.facts().replies_without_id
    }
}

/// A set of forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Forms(u8);

const _: () = assert!(Form::COUNT <= u8::BITS as usize);

impl Forms {
    /// Every form.
    pub const ALL: Forms = Forms(((1_u16 << Form::COUNT) - 1) as u8);

    /// The set of the forms with a bit, by [`Form::index`], in `bits`. Ignores higher bits.
    pub(super) const fn from_bits(bits: u16) -> Self {
        Self(bits as u8 & Self::ALL.0)
    }

    /// Adds a form.
    pub const fn insert(&mut self, form: Form) {
        self.0 |= 1 << form.index();
    }

    /// Whether the set contains a form.
    #[must_use]
    pub const fn contains(self, form: Form) -> bool {
        self.0 & (1 << form.index()) != 0
    }

    /// The forms in the set, in the order of [`Form::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Form> {
        Form::ALL.into_iter().filter(move |form| self.contains(*form))
    }
}

impl From<Form> for Forms {
    fn from(form: Form) -> Self {
        Self(1 << form.index())
    }
}

impl FromIterator<Form> for Forms {
    fn from_iter<I: IntoIterator<Item = Form>>(forms: I) -> Self {
        let mut set = Self::default();
        forms.into_iter().for_each(|form| set.insert(form));
        set
    }
}

/// The same message as a finished frame, or several in one buffer, in each form that is wanted.
#[derive(Clone, Debug, Default)]
pub struct Frames([Option<Bytes>; Form::COUNT]);

impl Frames {
    /// The frame in `form`.
    #[must_use]
    pub const fn get(&self, form: Form) -> Option<&Bytes> {
        self.0[form.index()].as_ref()
    }

    /// Sets the frame in `form`.
    pub fn set(&mut self, form: Form, frame: Bytes) {
        self.0[form.index()] = Some(frame);
    }

    /// The frames that exist.
    pub fn iter(&self) -> impl Iterator<Item = (Form, &Bytes)> {
        Form::ALL.into_iter().zip(&self.0).filter_map(|(form, frame)| Some((form, frame.as_ref()?)))
    }

    /// The frames in `forms`.
    #[must_use]
    pub fn in_forms(&self, forms: Forms) -> Frames {
        Self(std::array::from_fn(|index| self.0[index].clone().filter(|_| forms.contains(Form::ALL[index]))))
    }

    /// Bytes of all frames.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().map(|(_, frame)| frame.len()).sum()
    }

    /// Whether there is no frame.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_have_their_index_and_sets_keep_their_order() {
        assert!(Form::ALL.iter().enumerate().all(|(index, form)| form.index() == index));
        assert!(Forms::ALL.iter().eq(Form::ALL));
        assert_eq!(Forms::default().iter().count(), 0);
        for form in Form::ALL {
            let set = Forms::from(form);
            assert!(set.iter().eq([form]));
            assert!(Form::ALL.iter().all(|other| set.contains(*other) == (*other == form)));
        }
        assert_eq!(Form::ALL.into_iter().collect::<Forms>(), Forms::ALL);
    }

    #[test]
    fn frames_are_kept_by_form() {
        let mut frames = Frames::default();
        assert!(frames.is_empty());
        frames.set(Form::Binary, Bytes::from_static(b"abc"));
        assert_eq!((frames.len(), frames.is_empty(), frames.get(Form::Json)), (3, false, None));
        frames.set(Form::Json, Bytes::from_static(b"de"));
        assert!(frames.iter().map(|(form, frame)| (form, frame.len())).eq([(Form::Json, 2), (Form::Binary, 3)]));
        let binary = frames.in_forms(Form::Binary.into());
        assert_eq!((binary.len(), binary.get(Form::Json)), (3, None));
    }
}
