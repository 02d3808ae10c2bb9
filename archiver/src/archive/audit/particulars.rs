//! How much of what somebody said stands in a line.
//!
//! Whoever is watched has a hand in what they say, so no length of it makes a line say nothing: texts and lists are cut one by one,
//! and those that tell what was asked for come whole, or nearly so.

use serde_json::{Map, Value, json};

/// What is not longer stands there as it is, but for control characters.
const BYTES_MAX: usize = 8 * 1024;
/// What tells who and what: cut last.
const FIRST: [&str; 7] = ["id", "user", "query", "privileges", "reads", "name", "template"];

/// Cuts.
struct Room {
    text_chars: usize,
    items: usize,
    /// Of it all as JSON; a list is cut to it, anything else then stands there as the beginning of a text.
    bytes: usize,
}

/// For what tells who and what: a query is 4096 octets at most.
const WIDE: Room = Room { text_chars: 4096, items: 1000, bytes: 20 * 1024 };
const NARROW: Room = Room { text_chars: 200, items: 20, bytes: 2 * 1024 };
/// For saying at the end of a list how much of it is left out.
const LEFT_OUT_BYTES: usize = 64;
/// Of all together; no command says so much that is to be kept.
const ALL_BYTES_MAX: usize = 40 * 1024;
const DEPTH_MAX: usize = 8;

/// What is recorded of it.
pub(super) fn kept(particulars: &Value) -> Value {
    let shown = clean(particulars);
    if shown.to_string().len() <= BYTES_MAX {
        return shown;
    }
    let Value::Object(all) = shown else { return NARROW.fitted(shown) };
    let (first, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(name, _)| FIRST.contains(&name.as_str()));
    let first = first.into_iter().map(|(name, value)| (name, WIDE.fitted(value)));
    let others = others.into_iter().map(|(name, value)| (name, NARROW.fitted(value)));
    let (mut kept, mut bytes, mut left_out) = (Map::new(), 0, 0_u64);
    for (name, value) in first.chain(others) {
        bytes += name.len() + value.to_string().len();
        if bytes > ALL_BYTES_MAX {
            left_out += 1;
        } else {
            kept.insert(name, value);
        }
    }
    if left_out > 0 {
        kept.insert("left_out".into(), left_out.into());
    }
    Value::Object(kept)
}

/// Control characters show as what they are not: JSON would make six octets of each.
fn clean(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>().into()
        }
        Value::Array(all) => all.iter().map(clean).collect(),
        Value::Object(all) => {
            Value::Object(all.iter().map(|(name, value)| (name.clone(), clean(value))).collect())
        }
        other => other.clone(),
    }
}

impl Room {
    fn fitted(&self, value: Value) -> Value {
        let cut = self.cut(value, 0);
        let text = cut.to_string();
        if text.len() <= self.bytes { cut } else { NARROW.text(text) }
    }

    fn cut(&self, value: Value, depth: usize) -> Value {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(_) | Value::Object(_) if depth >= DEPTH_MAX => json!("…"),
            Value::Array(all) => self.list(all, depth),
            Value::Object(all) => {
                let left_out = all.len().saturating_sub(self.items);
                let kept = all.into_iter().take(self.items);
                let mut kept: Map<String, Value> =
                    kept.map(|(name, value)| (name, self.cut(value, depth + 1))).collect();
                if left_out > 0 {
                    kept.insert("left_out".into(), left_out.into());
                }
                Value::Object(kept)
            }
            other => other,
        }
    }

    fn text(&self, text: String) -> Value {
        match text.char_indices().nth(self.text_chars) {
            None => text.into(),
            Some((at, _)) => {
                let left_out = text.len() - at;
                format!("{}… ({left_out} octets left out)", &text[..at]).into()
            }
        }
    }

    fn list(&self, all: Vec<Value>, depth: usize) -> Value {
        let count = all.len();
        let (mut kept, mut bytes) = (Vec::new(), 0);
        for value in all.into_iter().take(self.items) {
            let value = NARROW.cut(value, depth + 1);
            bytes += value.to_string().len() + 1;
            if bytes > self.bytes - LEFT_OUT_BYTES {
                break;
            }
            kept.push(value);
        }
        let left_out = count - kept.len();
        if left_out > 0 {
            kept.push(json!({ "left_out": left_out }));
        }
        kept.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: nobody makes the line say less by saying more.
    #[test]
    fn who_says_much_hides_nothing() {
        let hidden = json!({ "user": "bob", "query": format!("secret{}", "\u{1}".repeat(4000)) });
        let shown = kept(&hidden);
        assert_eq!(shown["user"], "bob");
        assert!(shown["query"].as_str().unwrap().starts_with("secret"), "{shown}");
        let padded = format!("{}secret", " ".repeat(4090));
        assert!(kept(&json!({ "query": padded }))["query"].as_str().unwrap().ends_with("secret"));
        let junk: Vec<String> = (0..1000).map(|n| format!("{n}{}", "x".repeat(4000))).collect();
        let edit = json!({ "add_emails": junk, "emails": junk, "id": "anna", "privileges": ["auditor", "admin"],
            "reads": ["bob", "unassigned"], "remove_emails": junk });
        let shown = kept(&edit);
        for name in ["id", "privileges", "reads"] {
            assert_eq!(shown[name], edit[name]);
        }
        let emails = shown["remove_emails"].as_array().unwrap();
        assert!(emails.last().unwrap()["left_out"].as_u64().unwrap() > 900, "{emails:?}");
        let archives: Vec<String> = (0..500).map(|n| format!("archive-{n}")).collect();
        assert_eq!(kept(&json!({ "reads": archives, "emails": junk }))["reads"], json!(archives));
    }

    /// Goal: whatever is said, a line stays one that is read again.
    #[test]
    fn what_stands_in_a_line_is_bounded() {
        let text = "\u{10ffff}".repeat(10_000);
        let texts = json!(vec!["\u{10ffff}".repeat(300); 50]);
        let mut deep = json!(text);
        for _ in 0..40 {
            deep = json!([deep, texts]);
        }
        let mut all = Map::new();
        for name in FIRST.iter().map(ToString::to_string).chain((0..200).map(|n| n.to_string())) {
            all.insert(name, texts.clone());
        }
        for said in [json!({ "query": text, "id": text, "x": deep.clone() }), deep, texts, Value::Object(all)]
        {
            let bytes = kept(&said).to_string().len();
            assert!(bytes < super::super::LINE_BYTES_MAX - 8 * 1024, "{bytes}");
        }
    }
}
