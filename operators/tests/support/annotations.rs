//! Annotations of WFDB records, for tests only.
//! In: an annotation file in MIT format. Out: sample index, code of the symbol and the text of each annotation.
#![allow(dead_code, reason = "each test file uses its part")]

/// One annotation.
#[derive(Clone, Debug)]
pub struct Annotation {
    pub sample: i64,
    /// Symbol of the annotation, as PhysioNet prints it.
    pub symbol: char,
    pub text: String,
}

/// Symbols by code (ecgcodes.h of the WFDB library's documentation); a blank where there is none.
const SYMBOLS: &str = " NLRaVFJASEj/Q~ | sT*D\"=pB^t+u?![]en@xf()r";

/// Reads words of six bits of code and ten of time.
pub fn annotations(bytes: &[u8]) -> Vec<Annotation> {
    let words: Vec<u16> = bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
    let mut all: Vec<Annotation> = vec![];
    let (mut time, mut i) = (0i64, 0usize);
    while i < words.len() && words[i] != 0 {
        let (code, value) = (usize::from(words[i] >> 10), usize::from(words[i] & 1023));
        i += 1;
        match code {
            59 => {
                time += i64::from(words[i] as i16) << 16 | i64::from(words[i + 1]);
                i += 2;
            }
            60..=62 => {}
            63 => {
                let text = bytes[2 * i..2 * i + value].iter().take_while(|b| **b != 0);
                if let Some(last) = all.last_mut() {
                    last.text = text.map(|b| char::from(*b)).collect();
                }
                i += value.div_ceil(2);
            }
            _ => {
                time += value as i64;
                let symbol = SYMBOLS.chars().nth(code).unwrap_or(' ');
                all.push(Annotation { sample: time, symbol, text: String::new() });
            }
        }
    }
    all
}

/// Class of a beat in the sense of EC57: N, S, V, F or Q; `None` if the symbol is no beat.
pub fn class(symbol: char) -> Option<char> {
    match symbol {
        'N' | 'L' | 'R' | 'e' | 'j' | 'B' | 'n' => Some('N'),
        'S' | 'A' | 'a' | 'J' => Some('S'),
        'V' | 'E' | 'r' => Some('V'),
        'F' => Some('F'),
        '/' | 'f' | 'Q' | '?' => Some('Q'),
        _ => None,
    }
}
