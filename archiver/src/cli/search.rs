//! `search`: its arguments, and its answers.

use std::io::IsTerminal as _;

use clap::Args as ClapArgs;
use serde_json::Value;

use super::args::InInstance;
use crate::archive::Order;
use crate::command::Command;

/// What `search --help` teaches below its options.
const HELP: &str = "\
The query:
  invoice 2026               both words, anywhere in the message, its attachments or addresses
  \"annual report\"            these words one behind the other
  inv*                       what begins so
  this OR that   -spam   NOT spam   (a OR b) c
  from:anna  to:  cc:  bcc:  recipient: (to, cc or bcc)  with: (from or any recipient)
  subject:budget  body:  filename:pdf  attachment:budget (name or text)  folder:incoming
  subject:(budget OR \"annual report\")
  after:2026-01-31  before:2026-02  on:2026-01  on:2025..2026-03  after:30d  on:yesterday   days in UTC
  size:>5mb  size:<=100kb  larger:5mb  smaller:100kb
  has:attachment   has:missing-text (text that could not be read)
  id:01JZ…  id:<message-id@example.com>   archive:anna (only without --user)
  *                          everything
Capitals and accents make no difference: grosse finds Größe. docs/search.md has more.

Pages: when there are more hits, standard error names the cursor of the next page. With --json the answer is an array of
hits; with --json --page-info an object with hits, total, next (the cursor, when there is more), behind (changes the index
has yet to follow) and damaged.";

/// Find messages.
///
/// Words, phrases, fields, dates and sizes; see below.
#[derive(Debug, ClapArgs)]
#[command(after_help = HELP)]
pub struct SearchArgs {
    #[command(flatten)]
    instance: InInstance,
    /// Only this user's archive; also `unassigned` and `quarantine`.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// The most hits shown.
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
    /// Hits passed over; a cursor is cheaper and stays in place when mail arrives.
    #[arg(long, default_value_t = 0, value_name = "N", conflicts_with = "cursor")]
    offset: usize,
    /// newest, oldest or relevance.
    #[arg(long, default_value = "newest", value_name = "ORDER")]
    order: Order,
    /// The next page: what the page before said.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// With --json: an object with the hits, how many there are, and the next page's cursor.
    #[arg(long)]
    page_info: bool,
    /// What to find.
    #[arg(required = true)]
    query: Vec<String>,
}

impl SearchArgs {
    pub(super) fn command(self) -> Command {
        let Self { instance, user, limit, offset, order, cursor, page_info: _, query } = self;
        Command::Search {
            instance: instance.instance,
            user,
            query: query.join(" "),
            limit,
            offset,
            order,
            cursor,
        }
    }

    /// Whether the answer is to be an object.
    pub(super) fn wants_page(&self) -> bool {
        self.page_info
    }
}

/// What `--json` prints of a page.
pub(super) fn json(mut page: Value, whole: bool) -> Value {
    if whole { page } else { page["hits"].take() }
}

/// Says on standard error what a page's hits do not tell.
pub(super) fn notes(page: &Value) {
    for damaged in page["damaged"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        eprintln!("postern-archiver: {damaged}; hits may be missing until rebuild --index-only is done");
    }
    match page["behind"].as_u64() {
        None | Some(0) => {}
        Some(behind) => eprintln!("the index is {behind} changes behind; the newest messages may be missing"),
    }
    if let Some(next) = page["next"].as_str() {
        eprintln!("{} hits in all; the next page: --cursor {next}", page["total"]);
    }
}

/// Hits as text for people.
pub(super) fn hits(page: &Value) -> String {
    let bold = std::io::stdout().is_terminal();
    let hits: Vec<String> =
        page["hits"].as_array().into_iter().flatten().map(|found| hit(found, bold)).collect();
    if hits.is_empty() { "nothing found".into() } else { hits.join("\n") }
}

fn hit(hit: &Value, bold: bool) -> String {
    let text = |value: &Value| plain(value.as_str().unwrap_or_default());
    let date: String = text(&hit["date"]).chars().take(16).collect();
    let folders: Vec<String> = hit["folders"].as_array().into_iter().flatten().map(text).collect();
    let mut lines = vec![
        format!("{}  {}  {}", text(&hit["id"]), date.replace('T', " "), text(&hit["subject"])),
        format!("    from {}  to {}", text(&hit["from"]), text(&hit["to"])),
        format!("    in {}", folders.join(", ")),
    ];
    for snippet in hit["snippets"].as_array().into_iter().flatten() {
        let place = match snippet["attachment"].as_str() {
            Some(name) => format!("attachment {}", plain(name)),
            None => text(&snippet["field"]),
        };
        lines.push(format!("    {place}: {}", marked(snippet, bold)));
    }
    for missing in hit["text_missing"].as_array().into_iter().flatten() {
        let name = text(&missing["attachment"]);
        let name = if name.is_empty() { "the message".to_owned() } else { name };
        lines.push(format!("    text of {name} is missing: {}", text(&missing["why"])));
    }
    lines.join("\n")
}

/// Whatever a message holds, it must not steer the terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A snippet with what was found in bold, or in brackets.
fn marked(snippet: &Value, bold: bool) -> String {
    let (begin, end) = if bold { ("\u{1b}[1m", "\u{1b}[0m") } else { ("[", "]") };
    let mark = |mark: &Value| Some((mark[0].as_u64()?, mark[1].as_u64()?));
    let marks: Vec<(u64, u64)> = snippet["marks"].as_array().into_iter().flatten().filter_map(mark).collect();
    let mut out = String::new();
    let text = snippet["text"].as_str().unwrap_or_default();
    for (at, character) in (0u64..).zip(plain(text).chars()) {
        if marks.iter().any(|(from, _)| *from == at) {
            out.push_str(begin);
        }
        out.push(character);
        if marks.iter().any(|(_, to)| *to == at + 1) {
            out.push_str(end);
        }
    }
    out
}
