//! What a document is: by its first octets, else by its name and media type.

/// A format that text can be had of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text, in whatever encoding.
    Plain,
    /// A page.
    Html,
    /// PDF.
    Pdf,
    /// A zip file: OOXML and OpenDocument are some too.
    Zip,
    /// Rich Text Format.
    Rtf,
    /// A message (RFC 5322).
    Mail,
}

const PLAIN: &[&str] = &[
    "txt", "text", "csv", "tsv", "log", "md", "json", "xml", "ics", "vcf", "ini", "conf", "cfg", "yaml",
    "yml", "sql",
];
const OFFICE: &[&str] = &[
    "docx", "docm", "dotx", "xlsx", "xlsm", "xltx", "pptx", "pptm", "ppsx", "potx", "odt", "ott", "ods",
    "ots", "odp", "otp", "odg",
];
const OFFICE_TYPES: &[&str] =
    &["application/vnd.openxmlformats-officedocument", "application/vnd.oasis.opendocument"];
const OLD: &[&str] = &["doc", "dot", "xls", "xlt", "ppt", "pps", "msg", "pst", "mdb"];
const ARCHIVES: &[&str] = &["rar", "7z", "gz", "tgz", "tar", "bz2", "xz", "zst", "cab", "arj", "lzh"];
const OLE: &[u8] = b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1";
/// A PDF may have other octets before its mark.
const PDF_MARK_WITHIN: usize = 1024;

impl Format {
    /// What the file `name` of that media type is; `None` for what has no text anybody would look for in it, as a picture.
    /// An error says why its text cannot be had.
    pub fn of(name: &str, media_type: &str, octets: &[u8]) -> Result<Option<Self>, &'static str> {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.trim().to_ascii_lowercase());
        let ending = ending.as_deref().unwrap_or_default();
        let start = &octets[..octets.len().min(PDF_MARK_WITHIN)];
        if memchr::memmem::find(start, b"%PDF-").is_some() {
            return Ok(Some(Self::Pdf));
        }
        if octets.starts_with(b"PK\x03\x04") || octets.starts_with(b"PK\x05\x06") {
            return Ok(Some(Self::Zip));
        }
        if start.trim_ascii_start().starts_with(b"{\\rtf") {
            return Ok(Some(Self::Rtf));
        }
        let office =
            OFFICE.contains(&ending) || OFFICE_TYPES.iter().any(|prefix| media_type.starts_with(prefix));
        if octets.starts_with(OLE) {
            return match office {
                true => Err("it is encrypted"),
                false => Err("the old binary Office formats are not read"),
            };
        }
        if octets.is_empty() {
            return Ok(None);
        }
        match ending {
            "pdf" => Err("it is no PDF, though it is called one"),
            "zip" => Err("it is no zip file, though it is called one"),
            "rtf" => Err("it is no RTF, though it is called one"),
            _ if office => Err("it is no Office document, though it is called one"),
            "htm" | "html" | "xhtml" | "shtml" => Ok(Some(Self::Html)),
            "eml" => Ok(Some(Self::Mail)),
            ending if PLAIN.contains(&ending) => Ok(Some(Self::Plain)),
            ending if OLD.contains(&ending) => Err("the old binary Office formats are not read"),
            ending if ARCHIVES.contains(&ending) => Err("archives of this kind are not read"),
            _ => match media_type {
                "application/pdf" => Err("it is no PDF, though it is called one"),
                "message/rfc822" | "message/global" => Ok(Some(Self::Mail)),
                "text/html" | "application/xhtml+xml" => Ok(Some(Self::Html)),
                "application/json" | "application/xml" => Ok(Some(Self::Plain)),
                other if other.starts_with("text/") => Ok(Some(Self::Plain)),
                _ => Ok(None),
            },
        }
    }
}
