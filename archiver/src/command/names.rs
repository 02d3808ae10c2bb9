//! All commands and what each takes, as serde knows them: so tests can see that none was forgotten elsewhere.

use std::cell::Cell;
use std::collections::BTreeSet;

use serde::Deserialize as _;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error as _, VariantAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::Command;

type Failed = serde::de::value::Error;

/// Says what an enum's variants are, or what one of them takes.
#[derive(Clone, Copy)]
struct Looking<'l> {
    variant: &'l str,
    found: &'l Cell<&'static [&'static str]>,
}

impl<'de> Deserializer<'de> for Looking<'_> {
    type Error = Failed;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Failed> {
        Err(Failed::custom("that is no command"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failed> {
        if self.variant.is_empty() {
            self.found.set(variants);
            return Err(Failed::custom("looked"));
        }
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for Looking<'_> {
    type Error = Failed;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Failed> {
        Ok((seed.deserialize(StrDeserializer::new(self.variant))?, self))
    }
}

impl<'de> VariantAccess<'de> for Looking<'_> {
    type Error = Failed;

    fn unit_variant(self) -> Result<(), Failed> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Failed> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, Failed> {
        Err(Failed::custom("a command has named fields"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Failed> {
        self.found.set(fields);
        Err(Failed::custom("looked"))
    }
}

fn look(variant: &str) -> BTreeSet<&'static str> {
    let found = Cell::new(&[] as &[&str]);
    // Told through `found`; there is no value to be had.
    let _ = Command::deserialize(Looking { variant, found: &found });
    found.get().iter().copied().collect()
}

/// The names of all commands.
pub(crate) fn names() -> BTreeSet<&'static str> {
    look("")
}

/// The fields of a command.
pub(crate) fn fields(name: &str) -> BTreeSet<&'static str> {
    look(name)
}

#[test]
fn commands_and_their_fields_are_seen() {
    assert!(names().contains("status") && names().contains("token-revoke"));
    assert_eq!(fields("instance-start"), BTreeSet::from(["id", "safe"]));
    assert!(fields("status").is_empty());
}
