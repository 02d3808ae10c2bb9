//! `docs/configuration.md`, written from the tables.

use std::fmt::Write as _;

use super::{Effect, Key, Table, tables};

const HEAD: &str = "# Configuration

<!-- Written by `make docs` from gateway/src/settings: change the comments there. -->

`postern-gateway` reads `/etc/postern/gateway.toml`, or the file that `--config` names. `postern-gateway init` writes one;
[config/gateway.toml](../config/gateway.toml) is the commented example. Every key may be left out. Unknown keys and values
that cannot be used are errors that name file, line and key; `postern-gateway --config FILE check-config` looks for them
without starting anything.

An environment variable overrides its key, whatever the file says. Its value is read as TOML, else as text:
`POSTERN_GATEWAY__LISTEN__SMTP=127.0.0.1:2525`.

## Changing it while the gateway runs

`systemctl reload postern-gateway`, `postern-gateway reload` and SIGHUP make the gateway read its configuration again; the
console does so when settings are applied there. All of it is checked first: with a mistake anywhere nothing changes, and the
log (with `postern-gateway reload`, the answer) names file, key and what is wrong. No session ends by it.

The tables below say when a change counts:

* **reload**: from the reload on, for each connection that begins then; sessions that are open go on as they began.
* **restart**: not before the gateway starts again. A reload names such keys in log and answer, and all else counts already.

Files that keys name are another matter: a certificate's files are looked at every few seconds and at each reload, files with
a secret when it is needed, files with authorities at each reload. `postern-gateway log-level` changes the log level until the
next reload that finds another one in the file.

Sizes are text with a unit (`\"200 MiB\"`; B, KiB, MiB, GiB) or a number of bytes, times are text with a unit (`\"30 s\"`; ms, s,
min, h, d). Addresses are text (`\"0.0.0.0:25\"`, `\"[::]:25\"`, `\":25\"`) or a list of texts; `[]` is none.
`0.0.0.0` takes IPv4 alone, `[::]` IPv6 and IPv4: one of the two is enough for a port.
";

/// The page.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    tables().iter().for_each(|table| section(table, &mut page));
    page
}

fn section(table: &Table, page: &mut String) {
    let title = match (table.name.as_str(), table.repeated) {
        ("", _) => "Before the first table".to_owned(),
        (name, true) => format!("`[[{name}]]`"),
        (name, false) => format!("`[{name}]`"),
    };
    let _ = write!(page, "\n## {title}\n\n");
    if !table.meaning.is_empty() {
        let _ = write!(page, "{}\n\n", table.meaning);
    }
    page.push_str("| key | value | default | change counts | meaning |\n|---|---|---|---|---|\n");
    for key in &table.keys {
        let default = match &key.default {
            Some(value) => format!("`{value}`"),
            None if key.required => "must be there".to_owned(),
            None => "–".to_owned(),
        };
        let effect = match key.effect {
            Effect::Reload => "reload",
            Effect::Restart => "restart",
        };
        let cells = [label(key), key.shape.to_owned(), default, effect.to_owned(), key.meaning.clone()];
        // A bar would end the cell.
        let _ = writeln!(page, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
}

/// The key's name in its table, and the variable that overrides it.
fn label(key: &Key) -> String {
    let name = key.name.rsplit('.').next().unwrap_or_default();
    key.variable().map_or_else(|| format!("`{name}`"), |variable| format!("`{name}`<br>`{variable}`"))
}
