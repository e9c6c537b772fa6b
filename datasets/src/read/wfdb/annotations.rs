//! WFDB annotation files in the MIT form, by annot(5).
//! In: bytes of an annotation file. Out: annotations with sample position, code, subtype, channel, number and
//! text; positions in samples of the record unless the file states a resolution of its own.

use std::path::Path;

use crate::read::{Place, ReadError, bytes_of};

/// Words of the MIT form that are not annotations: code in the upper 6 bits, length or value in the lower 10.
pub(crate) const SKIP: u16 = 59;
pub(crate) const NUM: u16 = 60;
pub(crate) const SUB: u16 = 61;
pub(crate) const CHN: u16 = 62;
pub(crate) const AUX: u16 = 63;
/// Code of a comment.
pub const NOTE: u8 = 22;
/// Start of the comment that states a file's resolution.
pub(crate) const RESOLUTION: &str = "## time resolution: ";

/// Codes and symbols, by annot(5) and its list of annotation codes.
const SYMBOLS: &[(u8, char)] = &[
    (1, 'N'),
    (2, 'L'),
    (3, 'R'),
    (4, 'a'),
    (5, 'V'),
    (6, 'F'),
    (7, 'J'),
    (8, 'A'),
    (9, 'S'),
    (10, 'E'),
    (11, 'j'),
    (12, '/'),
    (13, 'Q'),
    (14, '~'),
    (16, '|'),
    (18, 's'),
    (19, 'T'),
    (20, '*'),
    (21, 'D'),
    (22, '"'),
    (23, '='),
    (24, 'p'),
    (25, 'B'),
    (26, '^'),
    (27, 't'),
    (28, '+'),
    (29, 'u'),
    (30, '?'),
    (31, '!'),
    (32, '['),
    (33, ']'),
    (34, 'e'),
    (35, 'n'),
    (36, '@'),
    (37, 'x'),
    (38, 'f'),
    (39, '('),
    (40, ')'),
    (41, 'r'),
];

/// Symbols that stand for a beat.
const BEATS: &str = "NLRBAaJSVrFejnE/fQ?";

/// One annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// Position in samples.
    pub sample: i64,
    /// Code, 1 to 49.
    pub code: u8,
    /// Subtype.
    pub subtype: i8,
    /// Signal it belongs to.
    pub channel: u8,
    /// Free number.
    pub number: i8,
    /// Free text, one character a byte; at most 255.
    pub text: String,
}

/// An annotation file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Annotations {
    /// Positions per second, if the file states them itself.
    pub resolution_hz: Option<f64>,
    /// In file order.
    pub items: Vec<Annotation>,
}

impl Annotation {
    /// An annotation of that symbol, if there is such a symbol.
    ///
    /// ```
    /// use auscult_datasets::read::wfdb::annotations::Annotation;
    /// assert_eq!(Annotation::new(70, 'V').unwrap().code, 5);
    /// assert!(Annotation::new(70, 'y').is_none());
    /// ```
    pub fn new(sample: i64, symbol: char) -> Option<Self> {
        let code = SYMBOLS.iter().find(|row| row.1 == symbol)?.0;
        Some(Self { sample, code, subtype: 0, channel: 0, number: 0, text: String::new() })
    }
    /// Symbol of the code; a blank where it has none.
    pub fn symbol(&self) -> char {
        SYMBOLS.iter().find(|row| row.0 == self.code).map_or(' ', |row| row.1)
    }
    /// Whether it marks a beat.
    pub fn is_beat(&self) -> bool {
        BEATS.contains(self.symbol())
    }
    /// The text without the zero byte that some files end it with.
    pub fn note(&self) -> &str {
        self.text.trim_end_matches('\0')
    }
}

/// Every symbol of the standard list, in order of its code.
pub fn symbols() -> impl Iterator<Item = char> {
    SYMBOLS.iter().map(|row| row.1)
}

/// Reads an annotation file, for example `100.atr`.
///
/// # Errors
/// [`ReadError`] if the file cannot be read or is cut short.
///
/// ```
/// let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/ramp16.atr");
/// let read = auscult_datasets::read::wfdb::annotations::read(&file).unwrap();
/// assert_eq!(read.items[0].symbol(), 'N');
/// ```
pub fn read(file: &Path) -> Result<Annotations, ReadError> {
    let bytes = bytes_of(file, "annotation files are named record.annotator, such as 100.atr")?;
    parse(file, &bytes)
}

/// Reads the bytes of an annotation file; `file` is for messages.
///
/// # Errors
/// [`ReadError::Bytes`] where a word is cut short or stands where it may not.
pub fn parse(file: &Path, bytes: &[u8]) -> Result<Annotations, ReadError> {
    let mut words = Words { place: Place { file }, bytes, at: 0 };
    let mut out = Annotations::default();
    let mut time = 0i64;
    let (mut channel, mut number) = (0u8, 0i8);
    while let Some(word) = words.next()? {
        let (code, low) = (word >> 10, word & 0x3ff);
        if word == 0 {
            break;
        }
        if code == SKIP {
            time = time.saturating_add(i64::from(words.long()?));
            continue;
        }
        if code < NUM {
            time = time.saturating_add(i64::from(low));
            let code = code as u8;
            let text = String::new();
            out.items.push(Annotation { sample: time, code, subtype: 0, channel, number, text });
            continue;
        }
        let at = words.at - 2;
        let last = out.items.last_mut().ok_or_else(|| {
            words.place.bytes(
                at as u64,
                format!("word {word:#06x}"),
                "an annotation before what belongs to it",
            )
        })?;
        match code {
            // Number and channel hold on until they are changed; the subtype is of one annotation only.
            NUM => {
                number = low as u8 as i8;
                last.number = number;
            }
            SUB => last.subtype = low as u8 as i8,
            CHN => {
                channel = low as u8;
                last.channel = channel;
            }
            _ => last.text = words.text(usize::from(low))?,
        }
    }
    out.take_resolution();
    Ok(out)
}

impl Annotations {
    /// Takes out the leading comment that states the resolution.
    fn take_resolution(&mut self) {
        let stated = self.items.first().filter(|a| a.code == NOTE && a.sample == 0).and_then(|a| {
            a.note()
                .strip_prefix(RESOLUTION)?
                .trim()
                .parse::<f64>()
                .ok()
                .filter(|r| *r > 0.0 && r.is_finite())
        });
        if stated.is_some() {
            self.resolution_hz = stated;
            self.items.remove(0);
        }
    }
}

/// Little-endian 16-bit words of a file.
struct Words<'a> {
    place: Place<'a>,
    bytes: &'a [u8],
    at: usize,
}

impl Words<'_> {
    fn take(&mut self, count: usize, expected: &str) -> Result<&[u8], ReadError> {
        let from = self.at;
        let found = self.bytes.len() - from;
        self.at += count;
        self.bytes
            .get(from..from + count)
            .ok_or_else(|| self.place.bytes(from as u64, format!("{found} more bytes"), expected))
    }
    /// The next word; `None` at the end. A single left-over byte is an error.
    fn next(&mut self) -> Result<Option<u16>, ReadError> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        self.take(2, "a word of 2").map(|b| Some(u16::from_le_bytes([b[0], b[1]])))
    }
    /// A long interval: the upper half first, each half little-endian.
    fn long(&mut self) -> Result<i32, ReadError> {
        self.take(4, "an interval of 4").map(|b| i32::from_le_bytes([b[2], b[3], b[0], b[1]]))
    }
    /// Text, padded to whole words. The pad byte may be lacking at the very end.
    fn text(&mut self, length: usize) -> Result<String, ReadError> {
        let text = self.take(length, "the rest of a text")?.iter().map(|&b| char::from(b)).collect();
        if length % 2 == 1 && self.at < self.bytes.len() {
            self.at += 1;
        }
        Ok(text)
    }
}
