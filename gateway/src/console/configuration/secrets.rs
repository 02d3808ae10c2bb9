//! Secrets in the text of a configuration: shown as a mask, and put back when the text comes back with the mask in it.

const MASK: &str = "\"(not shown)\"";
const SECRET: [&str; 2] = ["secret", "password"];

/// `text` with its secrets masked.
pub(in crate::console) fn masked(text: &str) -> String {
    let lines = text.lines().map(|line| match secret(line) {
        Some((key, _)) => format!("{key}= {MASK}"),
        None => line.to_owned(),
    });
    ended(&lines.collect::<Vec<_>>(), text)
}

/// `text` with each mask replaced by the secret that stands in its place in `before`: the first by the first of that key,
/// and so on. A mask with nothing behind it stays, and the gateway will not accept it as it is no secret.
pub(in crate::console) fn unmasked(text: &str, before: &str) -> String {
    let secrets: Vec<(&str, &str)> = before.lines().filter_map(secret).collect();
    let mut places = std::collections::HashMap::new();
    let mut lines = Vec::new();
    for line in text.lines() {
        let Some((key, value)) = secret(line) else {
            lines.push(line.to_owned());
            continue;
        };
        let place = places.entry(key.trim()).or_insert(0);
        let known = secrets.iter().filter(|(other, _)| other.trim() == key.trim()).nth(*place);
        *place += 1;
        match known {
            Some((_, known)) if value.trim() == MASK => lines.push(format!("{key}={known}")),
            _ => lines.push(line.to_owned()),
        }
    }
    ended(&lines, text)
}

/// Key and value of a line that holds a secret; not of one that names the file it is in.
fn secret(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    let name = key.trim().trim_matches(['"', '\'']);
    let is_secret = !name.starts_with('#') && SECRET.iter().any(|word| name.ends_with(word));
    is_secret.then_some((key, value))
}

fn ended(lines: &[String], text: &str) -> String {
    lines.join("\n") + if text.ends_with('\n') { "\n" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a = 1\n[[p]]\nclient_secret = \"one\"\nclient_secret_file = \"/f\"\n[[p]]\nclient_secret=\"two\" # x\n";

    #[test]
    fn secrets_are_masked_and_come_back() {
        let shown = masked(TEXT);
        assert!(!shown.contains("one") && !shown.contains("two") && shown.contains("/f"), "{shown}");
        assert_eq!(unmasked(&shown, TEXT), TEXT);
        let changed = shown.replace("a = 1", "a = 2").replacen(MASK, "\"new\"", 1);
        let expected = TEXT.replace("a = 1", "a = 2").replace("\"one\"", "\"new\"");
        assert_eq!(unmasked(&changed, TEXT), expected, "one was changed, the other stays");
    }
}
