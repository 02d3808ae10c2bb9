//! What the hostile POP3 server answers: a maildrop of two messages for everybody.

use super::script::Script;
use super::server::Answer;

/// Where the dialogue stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// Nobody is logged in.
    #[default]
    Authorization,
    /// What AUTH asked for comes: so many lines still.
    Login(usize),
    /// Somebody is.
    Transaction,
}

const MESSAGES: [&str; 2] = [
    "From: A\r\nTo: B\r\nSubject: 1\r\n\r\nHello, World 1!\r\n",
    "From: A\r\nTo: B\r\nSubject: 2\r\n\r\nHello, World 2!\r\n",
];

pub(super) fn answer(script: &Script, state: &mut State, line: &str, under_tls: bool) -> Answer {
    if let State::Login(left) = *state {
        *state = if left > 1 { State::Login(left - 1) } else { State::Transaction };
        return Answer::say(if left > 1 { "+ UGFzc3dvcmQ6\r\n" } else { "+OK logged in\r\n" });
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let verb = words.first().unwrap_or(&"").to_lowercase();
    let name = if verb == "auth" && words.len() == 1 { "authlist" } else { &verb };
    if let Some(chosen) = script.chosen(name, under_tls, "-ERR bad command\r\n") {
        return Answer::say(&chosen);
    }
    match (verb.as_str(), *state) {
        ("capa", _) => {
            let offers = if under_tls { &script.offers_tls } else { &script.offers };
            let lines: String = offers.iter().map(|offer| format!("{offer}\r\n")).collect();
            Answer::say(&format!("+OK list of capabilities\r\n{lines}.\r\n"))
        }
        ("quit", _) => Answer::hang_up("+OK Fake logging out.\r\n"),
        ("stls", State::Authorization) => {
            Answer { starts_tls: script.starttls_begins, ..Answer::say(&script.starttls_response) }
        }
        ("user", State::Authorization) => Answer::say("+OK user ok\r\n"),
        ("pass" | "apop", State::Authorization) => {
            *state = State::Transaction;
            Answer::say("+OK pass ok\r\n")
        }
        ("auth", State::Authorization) => authenticate(state, &words),
        (_, State::Transaction) => maildrop(&verb, &words),
        _ => Answer::say("-ERR bad command\r\n"),
    }
}

fn authenticate(state: &mut State, words: &[&str]) -> Answer {
    let Some(mechanism) = words.get(1) else { return Answer::say("+OK\r\nPLAIN\r\nLOGIN\r\n.\r\n") };
    let wanted = if mechanism.eq_ignore_ascii_case("LOGIN") { 2 } else { 1 };
    let left = wanted - usize::from(words.len() > 2);
    *state = if left == 0 { State::Transaction } else { State::Login(left) };
    Answer::say(match left {
        0 => "+OK logged in\r\n",
        1 if wanted == 2 => "+ UGFzc3dvcmQ6\r\n",
        1 => "+ \r\n",
        _ => "+ VXNlcm5hbWU6\r\n",
    })
}

fn maildrop(verb: &str, words: &[&str]) -> Answer {
    let number = words.get(1).and_then(|word| word.parse::<usize>().ok());
    let chosen = number.and_then(|number| Some((number, *MESSAGES.get(number.checked_sub(1)?)?)));
    let text = match (verb, chosen) {
        ("stat", _) => "+OK 2 92\r\n".to_owned(),
        ("noop" | "rset", _) => "+OK\r\n".to_owned(),
        ("list", None) if number.is_none() => "+OK\r\n1 46\r\n2 46\r\n.\r\n".to_owned(),
        ("uidl", None) if number.is_none() => "+OK\r\n1 AAAAAAAA\r\n2 BBBBBBBB\r\n.\r\n".to_owned(),
        ("list", Some((number, _))) => format!("+OK {number} 46\r\n"),
        ("uidl", Some((number, _))) => {
            format!("+OK {number} {}\r\n", if number == 1 { "AAAAAAAA" } else { "BBBBBBBB" })
        }
        ("retr" | "top", Some((_, message))) => format!("+OK\r\n{message}.\r\n"),
        ("dele", Some(_)) => "+OK message deleted\r\n".to_owned(),
        _ => "-ERR no such message\r\n".to_owned(),
    };
    Answer::say(&text)
}
