//! One row of a message's table: how a field behaves in a version that has it and in one that has
//! not. Knows no message.

use super::error::{Decoded, EncodeError, EncodeProblem, Encoded};
use super::reader::Reader;
use super::versions::VersionRange;
use super::wire::{Form, Wire};
use super::writer::{TaggedFields, Writer};

/// A field of a struct, and which versions carry it.
pub(crate) struct Row<T> {
    /// `Struct.field`.
    place: &'static str,
    versions: VersionRange,
    nullable: Option<VersionRange>,
    ignorable: bool,
    default: fn() -> T,
}

impl<T> Row<T> {
    pub(crate) const fn new(
        place: &'static str,
        versions: VersionRange,
        default: fn() -> T,
    ) -> Self {
        Self { place, versions, nullable: None, ignorable: false, default }
    }

    pub(crate) const fn default(self, default: fn() -> T) -> Self {
        Self { default, ..self }
    }

    /// The option `null`: the versions in which the field may be null.
    pub(crate) const fn null(self, versions: VersionRange) -> Self {
        Self { nullable: Some(versions), ..self }
    }

    /// The option `ignorable`.
    pub(crate) const fn ignorable(self) -> Self {
        Self { ignorable: true, ..self }
    }

    pub(crate) fn is_in(&self, version: i16) -> bool {
        self.versions.contains(version)
    }

    pub(crate) fn default_value(&self) -> T {
        (self.default)()
    }

    /// The message's form, with the field's own nullability; `None` if the version lacks the field.
    fn form(&self, form: Form) -> Option<Form> {
        let nullable = self.nullable.is_some_and(|versions| versions.contains(form.version));
        self.is_in(form.version).then_some(Form { nullable, ..form })
    }
}

impl<T: Wire + PartialEq> Row<T> {
    pub(crate) fn min_size(&self, form: Form) -> usize {
        self.form(form).map_or(0, T::min_size)
    }

    pub(crate) fn write(&self, value: &T, w: &mut Writer, form: Form) -> Encoded {
        let written = match self.form(form) {
            Some(form) => value.write(w, form),
            None => self.leave_out(value, form),
        };
        written.map_err(|error| error.at(self.place))
    }

    /// A tagged field is written only where its value is not the default.
    pub(crate) fn write_tagged(
        &self,
        tag: u32,
        value: &T,
        tags: &mut TaggedFields,
        form: Form,
    ) -> Encoded {
        if *value == self.default_value() {
            return Ok(());
        }
        let mut field = Writer::new();
        self.write(value, &mut field, form)?;
        if self.is_in(form.version) {
            tags.put(tag, field);
        }
        Ok(())
    }

    fn leave_out(&self, value: &T, form: Form) -> Encoded {
        if self.ignorable || *value == self.default_value() {
            return Ok(());
        }
        Err(EncodeError::new(form.version, EncodeProblem::NotInVersion))
    }

    /// Leaves the default in place if the version lacks the field.
    pub(crate) fn read(&self, value: &mut T, r: &mut Reader, form: Form) -> Decoded<()> {
        if let Some(form) = self.form(form) {
            *value = T::read(r, form).map_err(|error| error.at(self.place))?;
        }
        Ok(())
    }

    #[cfg(any(test, feature = "__arbitrary"))]
    pub(crate) fn arbitrary(&self, rng: &mut fastrand::Rng, form: Form) -> T {
        self.form(form).map_or_else(self.default, |form| T::arbitrary(rng, form))
    }
}
