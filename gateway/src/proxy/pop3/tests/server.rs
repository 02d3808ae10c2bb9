//! A POP3 server behind its login, with ways to misbehave.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use postern_shared::proto::pop3::DotEncoder;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What it does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quirk {
    None,
    /// It closes the connection after so many octets of a message.
    ClosesAmid(usize),
    /// It never answers RETR.
    Silent,
    /// It sends a message octet by octet, in such steps.
    Drips(std::time::Duration),
}

/// What happened there.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) commands: Vec<String>,
    pub(super) deleted: Vec<usize>,
}

#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) messages: Arc<Vec<(String, Vec<u8>)>>,
    pub(super) quirk: Quirk,
    pub(super) seen: Arc<Mutex<Seen>>,
}

impl Server {
    pub(super) fn new(messages: Vec<(&str, Vec<u8>)>) -> Self {
        let messages = messages.into_iter().map(|(uidl, content)| (uidl.to_owned(), content)).collect();
        Self { messages: Arc::new(messages), quirk: Quirk::None, seen: Arc::default() }
    }

    pub(super) fn commands(&self) -> Vec<String> {
        self.seen.lock().unwrap().commands.clone()
    }

    /// Serves any number of sessions.
    pub(super) async fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                // A session ends when the gateway goes.
                tokio::spawn(async move { drop(server.serve(stream).await) });
            }
        });
        address
    }

    async fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut marked = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end();
            self.seen.lock().unwrap().commands.push(line.to_owned());
            let (verb, number) = line.split_once(' ').unwrap_or((line, ""));
            let message = number
                .parse()
                .ok()
                .and_then(|number: usize| self.messages.get(number - 1).map(|message| (number, message)));
            let answer = match (verb, message) {
                ("UIDL", Some((number, (uidl, _)))) => format!("+OK {number} {uidl}\r\n").into_bytes(),
                ("RETR", Some((_, (_, content)))) => {
                    let mut answer = format!("+OK {} octets\r\n", content.len()).into_bytes();
                    let mut encoder = DotEncoder::new();
                    encoder.encode(content, &mut answer);
                    encoder.finish(&mut answer);
                    match self.quirk {
                        Quirk::None => answer,
                        Quirk::Silent => continue,
                        Quirk::Drips(pause) => {
                            for octet in answer {
                                stream.write_all(&[octet]).await?;
                                tokio::time::sleep(pause).await;
                            }
                            continue;
                        }
                        Quirk::ClosesAmid(octets) => {
                            stream.write_all(&answer[..octets]).await?;
                            return stream.shutdown().await;
                        }
                    }
                }
                ("DELE", Some((number, _))) => {
                    marked.push(number);
                    b"+OK marked\r\n".to_vec()
                }
                ("STAT", _) => format!("+OK {} 1\r\n", self.messages.len()).into_bytes(),
                ("CAPA", _) => b"+OK\r\nPIPELINING\r\nSTLS\r\nUIDL\r\n.\r\n".to_vec(),
                ("LIST" | "UIDL", _) => b"+OK\r\n1 1\r\n.\r\n".to_vec(),
                ("NOOP", _) => b"+OK\r\n".to_vec(),
                ("QUIT", _) => {
                    self.seen.lock().unwrap().deleted.append(&mut marked);
                    stream.write_all(b"+OK bye\r\n").await?;
                    return stream.shutdown().await;
                }
                _ => b"-ERR no\r\n".to_vec(),
            };
            stream.write_all(&answer).await?;
        }
    }
}
