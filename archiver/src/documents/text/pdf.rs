//! PDF.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pdf_extract::{Document, PlainTextOutput, output_doc_page};

use super::{Stop, Text};

/// A page that cannot be read takes no other with it; the library falls over at what it does not expect.
pub(super) fn read(octets: &[u8], text: &mut Text) -> Result<(), Stop> {
    let mut document =
        Document::load_mem(octets).map_err(|_| Stop::new("it is broken, or a password opens it"))?;
    if document.is_encrypted() && document.decrypt("").is_err() {
        return Err(Stop::new("a password opens it"));
    }
    let pages: Vec<u32> = document.get_pages().into_keys().collect();
    let mut broken = 0;
    for page in &pages {
        let mut sink = Sink { text, stop: None };
        let done = catch_unwind(AssertUnwindSafe(|| {
            let mut output = PlainTextOutput::new(&mut sink as &mut dyn io::Write);
            output_doc_page(&document, &mut output, *page).is_ok()
        }));
        if let Some(stop) = sink.stop {
            return Err(stop);
        }
        broken += usize::from(!matches!(done, Ok(true)));
        text.divide('\n')?;
    }
    match broken {
        0 => Ok(()),
        _ => Err(Stop::new(format!(
            "{broken} of {} pages are written in a way that their reader does not know",
            pages.len()
        ))),
    }
}

/// Takes what the library writes, as long as there is room.
struct Sink<'t> {
    text: &'t mut Text,
    stop: Option<Stop>,
}

impl io::Write for Sink<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        match self.text.push(&String::from_utf8_lossy(piece)) {
            Ok(()) => Ok(piece.len()),
            Err(stop) => {
                self.stop = Some(stop);
                Err(io::ErrorKind::StorageFull.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
