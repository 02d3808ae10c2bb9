//! A request as a tree.

use anyhow::{Context as _, Result, ensure};
use postern_archiver::sources::ews::soap::xml::{Reader, Token};

/// An element.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) name: String,
    attributes: Vec<(&'static str, String)>,
    pub(super) text: String,
    pub(super) children: Vec<Node>,
}

/// The attributes that a request of EWS can have and that matter here.
const ATTRIBUTES: [&str; 9] = [
    "Id",
    "FieldURI",
    "PropertyTag",
    "Traversal",
    "MaxEntriesReturned",
    "Offset",
    "DeleteType",
    "Version",
    "PropertyType",
];

impl Node {
    pub(super) fn parse(document: &[u8]) -> Result<Self> {
        let (mut reader, mut rest) = (Reader::default(), document);
        let mut open: Vec<Self> = Vec::new();
        while let (used, Some(token)) = reader.next(rest)? {
            rest = &rest[used..];
            match token {
                Token::Start => {
                    let value = |name: &'static str| Some((name, reader.attribute(name)?.to_owned()));
                    let attributes = ATTRIBUTES.into_iter().filter_map(value).collect();
                    open.push(Self { name: reader.name().to_owned(), attributes, ..Self::default() });
                }
                Token::Text => {
                    let node = open.last_mut().context("text outside")?;
                    node.text += std::str::from_utf8(reader.text())?;
                }
                Token::End => {
                    let node = open.pop().context("an end too many")?;
                    match open.last_mut() {
                        Some(parent) => parent.children.push(node),
                        None => return Ok(node),
                    }
                }
            }
        }
        ensure!(reader.is_whole(), "the request is cut off");
        anyhow::bail!("no element")
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The first element of that name, wherever it is.
    pub(super) fn find(&self, name: &str) -> Option<&Self> {
        self.children.iter().find_map(|child| if child.name == name { Some(child) } else { child.find(name) })
    }

    /// All values of an attribute beneath.
    pub(super) fn all(&self, attribute: &str) -> Vec<String> {
        let own = self.attribute(attribute).map(str::to_owned);
        own.into_iter().chain(self.children.iter().flat_map(|child| child.all(attribute))).collect()
    }

    pub(super) fn number(&self, attribute: &str) -> Option<usize> {
        self.attribute(attribute)?.parse().ok()
    }
}
