//! Octets as decisions: what a session's events are made of.

/// Octets not used yet.
#[derive(Debug)]
pub(super) struct Octets<'d> {
    rest: &'d [u8],
}

impl<'d> Octets<'d> {
    pub(super) fn new(rest: &'d [u8]) -> Self {
        Self { rest }
    }

    /// The next one; `None` at the end.
    pub(super) fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// A number below `bound`, which is not 0; 0 at the end.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.next().map_or(0, usize::from) % bound
    }

    /// The next octets: as many as the first one says, or what is left.
    pub(super) fn piece(&mut self) -> &'d [u8] {
        let wanted = self.next().map_or(0, usize::from);
        let (piece, rest) = self.rest.split_at(wanted.min(self.rest.len()));
        self.rest = rest;
        piece
    }
}

/// `input` in pieces whose lengths its own octets choose, so that every cut can come up.
pub(super) fn pieces(input: &[u8]) -> Vec<&[u8]> {
    let Some((&first, mut rest)) = input.split_first() else { return Vec::new() };
    let mut length = usize::from(first) % 40 + 1;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        length = piece.last().map_or(1, |&octet| usize::from(octet)) % 40 + 1;
        rest = behind;
    }
    pieces
}
