//! What there is to set: every key with its meaning, shape, default, and when a change of it takes effect.
//!
//! The tables of the file are written once, with `table!` and `entry!`: they make the type that is read and say what is
//! told about it, so neither can be without the other, and a key without a meaning, a default or an effect does not
//! compile. From here come `docs/configuration.md`, the keys that the console shows, and what a reload may change.
//! (`schemars` would tell types and defaults as well; when a change takes effect, and that this was not forgotten, it
//! would not.)

mod page;
mod shape;

use std::sync::LazyLock;

pub use page::page;
pub(super) use shape::{Shape, choice};

use super::{ENVIRONMENT_PREFIX, Raw};

/// When a changed value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// With the next reload, for connections that begin then.
    Reload,
    /// When the gateway starts again.
    Restart,
}

/// A key.
#[derive(Debug, Clone)]
pub struct Key {
    /// With its table: `limits.sessions`.
    pub name: String,
    /// What it means.
    pub meaning: String,
    /// What may stand there.
    pub shape: &'static str,
    /// What it is when nobody sets it; nothing when the meaning tells, or when it is then not set at all.
    pub default: Option<toml::Value>,
    /// When a change counts.
    pub effect: Effect,
    /// It must be there.
    pub required: bool,
    /// It stands in a table that may be there as often as wanted (`[[proxy.target]]`); no environment variable sets it.
    pub repeated: bool,
}

impl Key {
    /// The environment variable that overrides it.
    pub fn variable(&self) -> Option<String> {
        let name = || format!("{ENVIRONMENT_PREFIX}{}", self.name.replace('.', "__").to_ascii_uppercase());
        (!self.repeated).then(name)
    }
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    /// As it stands between brackets; empty for what comes before the first.
    pub name: String,
    /// What it is about.
    pub meaning: String,
    /// Whether it may be there as often as wanted.
    pub repeated: bool,
    /// Its keys.
    pub keys: Vec<Key>,
}

/// All tables, in the order of the file.
pub fn tables() -> &'static [Table] {
    static TABLES: LazyLock<Vec<Table>> = LazyLock::new(|| {
        let mut tables = Vec::new();
        Raw::describe(Table::new(String::new(), "", false), &mut tables);
        tables
    });
    &TABLES
}

/// When a change of `key` counts. A list of tables (`proxy.target`) is changed as one.
pub fn effect(key: &str) -> Effect {
    let all = || tables().iter().flat_map(|table| &table.keys);
    let within = || all().find(|one| one.name.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')));
    all().find(|one| one.name == key).or_else(within).map_or(Effect::Restart, |one| one.effect)
}

impl Table {
    fn new(name: String, meaning: &str, repeated: bool) -> Self {
        Self { name, meaning: meaning.to_owned(), repeated, keys: Vec::new() }
    }

    /// The table of that name inside this one.
    pub(super) fn within(&self, name: &str, meaning: &str, repeated: bool) -> Self {
        Self::new(self.named(name), meaning, repeated)
    }

    fn named(&self, name: &str) -> String {
        if self.name.is_empty() { name.to_owned() } else { format!("{}.{name}", self.name) }
    }

    pub(super) fn key<S: Shape>(
        &mut self,
        name: &str,
        meaning: &str,
        effect: Effect,
        default: Option<toml::Value>,
    ) {
        let required = self.repeated && !S::OPTIONAL;
        let (name, meaning) = (self.named(name), meaning.to_owned());
        let repeated = self.repeated;
        self.keys.push(Key { name, meaning, shape: S::SHAPE, default, effect, required, repeated });
    }
}

/// A type whose fields are keys, or a list of such.
pub(super) trait Described {
    /// It may be there as often as wanted.
    const REPEATED: bool = false;

    /// Tells its keys, and behind it the tables inside it.
    fn describe(table: Table, all: &mut Vec<Table>);
}

impl<D: Described> Described for Vec<D> {
    const REPEATED: bool = true;

    fn describe(table: Table, all: &mut Vec<Table>) {
        D::describe(table, all);
    }
}

/// Comment lines as one text.
pub(super) fn joined(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// A table of the file: for each key its meaning, when a change counts, its type, and its default. What may be left out
/// without a default is an `Option`.
macro_rules! table {
    (
        $(#[doc = $about:literal])*
        $visibility:vis struct $name:ident {
            $( $(#[doc = $meaning:literal])+ [$effect:ident] $key:ident: $type:ty = $default:expr, )*
            $( tables { $( $(#[doc = $inside:literal])+ $table_visibility:vis $table:ident: $table_type:ty, )* } )?
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        $visibility struct $name {
            $( $key: $type, )*
            $( $( $table_visibility $table: $table_type, )* )?
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $key: $default, )* $( $( $table: Default::default(), )* )? }
            }
        }

        impl $crate::settings::reference::Described for $name {
            fn describe(
                mut table: $crate::settings::reference::Table,
                all: &mut Vec<$crate::settings::reference::Table>,
            ) {
                #[allow(unused_imports, reason = "not every table has each")]
                use $crate::settings::reference::{Described, Effect, joined};
                let default = Self::default();
                $(
                    let shown = toml::Value::try_from(&default.$key).ok();
                    table.key::<$type>(stringify!($key), &joined(&[$($meaning),+]), Effect::$effect, shown);
                )*
                all.push(table.clone());
                $( $(
                    let meaning = joined(&[$($inside),+]);
                    let inside = table.within(stringify!($table), &meaning, <$table_type>::REPEATED);
                    <$table_type>::describe(inside, all);
                )* )?
            }
        }
    };
}

/// A table that may be there as often as wanted. It has no defaults: what is no `Option` must be there.
macro_rules! entry {
    (
        $(#[doc = $about:literal])*
        $visibility:vis struct $name:ident {
            $( $(#[doc = $meaning:literal])+ [$effect:ident] $key:ident: $type:ty, )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        $visibility struct $name {
            $( $key: $type, )*
        }

        impl $crate::settings::reference::Described for $name {
            fn describe(
                mut table: $crate::settings::reference::Table,
                all: &mut Vec<$crate::settings::reference::Table>,
            ) {
                use $crate::settings::reference::{Effect, joined};
                $( table.key::<$type>(stringify!($key), &joined(&[$($meaning),+]), Effect::$effect, None); )*
                all.push(table);
            }
        }
    };
}

pub(super) use {entry, table};

#[cfg(test)]
mod tests;
