//! What the hostile SMTP server answers.

use super::script::Script;
use super::server::Answer;

/// Where the dialogue stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// Commands come.
    #[default]
    Command,
    /// A message comes.
    Message,
    /// What AUTH asked for comes: so many lines still.
    Login(usize),
}

pub(super) fn answer(script: &Script, state: &mut State, line: &str, under_tls: bool) -> Answer {
    match *state {
        State::Message if line == "." => *state = State::Command,
        State::Message => return Answer::say(""),
        State::Login(left) => {
            *state = if left > 1 { State::Login(left - 1) } else { State::Command };
            return Answer::say(if left > 1 { "334 UGFzc3dvcmQ6\r\n" } else { "235 ...\r\n" });
        }
        State::Command => return command(script, state, line, under_tls),
    }
    Answer::say("250 ...\r\n")
}

fn command(script: &Script, state: &mut State, line: &str, under_tls: bool) -> Answer {
    let words: Vec<&str> = line.split_whitespace().collect();
    let verb = words.first().unwrap_or(&"").to_lowercase();
    if let Some(chosen) = script.chosen(&verb, under_tls, "502 command not recognized\r\n") {
        return Answer::say(&chosen);
    }
    match verb.as_str() {
        "ehlo" => {
            let offers = if under_tls { &script.offers_tls } else { &script.offers };
            let mut lines = vec!["example.org ...".to_owned()];
            lines.extend(offers.iter().cloned());
            let last = lines.len() - 1;
            let mark = |number| if number == last { ' ' } else { '-' };
            let reply =
                lines.iter().enumerate().map(|(number, text)| format!("250{}{text}\r\n", mark(number)));
            Answer::say(&reply.collect::<String>())
        }
        "helo" | "mail" | "rcpt" | "rset" | "noop" => Answer::say("250 ...\r\n"),
        "bdat" => Answer::hang_up("502 command not recognized\r\n"),
        "data" => {
            *state = State::Message;
            Answer::say("354 ...\r\n")
        }
        "quit" => Answer::hang_up("221 ...\r\n"),
        "starttls" => Answer { starts_tls: script.starttls_begins, ..Answer::say(&script.starttls_response) },
        "auth" => {
            let wanted =
                if words.get(1).is_some_and(|word| word.eq_ignore_ascii_case("LOGIN")) { 2 } else { 1 };
            let left = wanted - usize::from(words.len() > 2);
            *state = if left == 0 { State::Command } else { State::Login(left) };
            Answer::say(match left {
                0 => "235 ...\r\n",
                1 if wanted == 2 => "334 UGFzc3dvcmQ6\r\n",
                1 => "334 ...\r\n",
                _ => "334 VXNlcm5hbWU6\r\n",
            })
        }
        _ => Answer::say("502 command not recognized\r\n"),
    }
}
