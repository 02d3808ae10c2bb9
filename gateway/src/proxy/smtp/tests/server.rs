//! A provider's server that keeps a record of what it got. It reads the wire in its own way: the end of data is found by eye,
//! dots are undone line by line.

use std::collections::VecDeque;

/// A message that came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) to: Vec<String>,
    pub(super) content: Vec<u8>,
    /// Whether it was taken.
    pub(super) taken: bool,
}

#[derive(Debug)]
enum Mode {
    Commands,
    Data,
    Chunk { left: usize, last: bool },
}

#[derive(Debug)]
pub(super) struct Server {
    unread: Vec<u8>,
    mode: Mode,
    mail: bool,
    to: Vec<String>,
    content: Vec<u8>,
    /// It has refused a chunk, so it refuses the rest (RFC 3030 §2).
    refuses_chunks: bool,
    /// It has taken its leave and reads no more.
    gone: bool,
    /// How it answers, in turn: 0 is no, 1 not now, the rest yes; to a chunk 2 is goodbye. Empty is yes.
    pub(super) moods: VecDeque<u8>,
    pub(super) ended: Vec<Ended>,
    pub(super) commands: Vec<String>,
}

impl Server {
    pub(super) fn new(moods: impl IntoIterator<Item = u8>) -> Self {
        Self {
            unread: Vec::new(),
            mode: Mode::Commands,
            mail: false,
            to: Vec::new(),
            content: Vec::new(),
            refuses_chunks: false,
            gone: false,
            moods: moods.into_iter().collect(),
            ended: Vec::new(),
            commands: Vec::new(),
        }
    }

    /// Takes octets; its answers.
    pub(super) fn take(&mut self, octets: &[u8]) -> String {
        self.unread.extend_from_slice(octets);
        let mut answers = String::new();
        while !self.gone && self.step(&mut answers) {}
        answers
    }

    fn step(&mut self, answers: &mut String) -> bool {
        match self.mode {
            Mode::Commands => {
                let Some(end) = self.unread.windows(2).position(|end| end == b"\r\n") else { return false };
                let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                let line = String::from_utf8(line).expect("commands are text").trim_end().to_owned();
                self.command(&line, answers);
                self.commands.push(line);
            }
            Mode::Data => {
                let all = [b"\r\n", &self.unread[..]].concat();
                let Some(end) = all.windows(5).position(|end| end == b"\r\n.\r\n") else { return false };
                let stuffed = self.unread.drain(..end + 3).collect::<Vec<_>>();
                self.content = undotted(&stuffed[..end]);
                self.end(answers);
            }
            Mode::Chunk { left, last } => {
                if self.unread.len() < left {
                    return false;
                }
                self.content.extend(self.unread.drain(..left));
                self.mode = Mode::Commands;
                if last { self.end(answers) } else { answers.push_str(self.chunk()) }
            }
        }
        true
    }

    fn end(&mut self, answers: &mut String) {
        let number = self.ended.len();
        let taken = !std::mem::take(&mut self.refuses_chunks) && self.agrees();
        let (to, content) = (std::mem::take(&mut self.to), std::mem::take(&mut self.content));
        self.ended.push(Ended { to, content, taken });
        answers.push_str(&if taken {
            format!("250 END-{number}\r\n")
        } else {
            format!("554 NO-{number}\r\n")
        });
        (self.mode, self.mail) = (Mode::Commands, false);
    }

    fn chunk(&mut self) -> &'static str {
        if self.refuses_chunks {
            return "503 CHUNK behind one that was refused\r\n";
        }
        let mood = self.moods.pop_front();
        self.refuses_chunks = matches!(mood, Some(0 | 1));
        self.gone = mood == Some(2);
        match mood {
            Some(0) => "552 CHUNK too big\r\n",
            Some(1) => "452 CHUNK not now\r\n",
            Some(2) => "421 bye\r\n",
            _ => "250 chunk\r\n",
        }
    }

    fn agrees(&mut self) -> bool {
        self.moods.pop_front().is_none_or(|mood| mood > 1)
    }

    fn command(&mut self, line: &str, answers: &mut String) {
        let verb = line.split([' ', ':']).next().unwrap_or_default();
        let agrees = |server: &mut Self| server.agrees();
        let answer = match verb {
            "MAIL" if self.mail => "503 nested",
            "MAIL" if agrees(self) => {
                self.mail = true;
                "250 mail"
            }
            "RCPT" if !self.mail => "503 no mail",
            "RCPT" if agrees(self) => {
                let path = line.split(['<', '>']).nth(1).unwrap_or_default();
                self.to.push(path.to_owned());
                "250 rcpt"
            }
            "DATA" if !self.mail || self.to.is_empty() => "503 nobody",
            "DATA" if agrees(self) => {
                self.mode = Mode::Data;
                "354 go"
            }
            "BDAT" => {
                let mut words = line.split(' ').skip(1);
                let left = words.next().and_then(|word| word.parse().ok()).expect("a size");
                assert!(!self.to.is_empty(), "chunks for nobody");
                self.mode = Mode::Chunk { left, last: words.next() == Some("LAST") };
                return;
            }
            "RSET" => {
                (self.mail, self.to, self.content) = (false, Vec::new(), Vec::new());
                self.refuses_chunks = false;
                "250 rset"
            }
            "NOOP" => "250 noop",
            "QUIT" => "221 bye",
            "MAIL" | "RCPT" | "DATA" => "452 not now",
            other => panic!("the server got {other:?}"),
        };
        answers.push_str(answer);
        answers.push_str("\r\n");
    }
}

fn undotted(stuffed: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    let mut rest = stuffed;
    while !rest.is_empty() {
        let end = rest.windows(2).position(|end| end == b"\r\n").map_or(rest.len(), |at| at + 2);
        let (line, behind) = rest.split_at(end);
        content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        rest = behind;
    }
    content
}
