//! Rows of a file of metadata: one JSON object per line, plain or compressed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use indicatif::ProgressBar;
use serde_json::{Map, Value};

use crate::error::CliError;

/// A longer line is refused without being kept in memory: a statement has 16 KiB.
const MAX_LINE: u64 = 1 << 20;

/// A line's object, or what is wrong with it.
type Parsed = Result<Map<String, Value>, String>;

/// The lines of a file.
pub(super) struct Rows {
    source: Box<dyn BufRead + Send>,
    line: u64,
}

impl Rows {
    /// Opens a file, or standard input for `-`; `bar` follows how much of it is read.
    pub(super) fn open(path: &Path, bar: &ProgressBar) -> Result<Self, CliError> {
        let failed = |error| CliError::io("cannot read", path, &error);
        let raw: Box<dyn Read + Send> = if path == Path::new("-") {
            Box::new(io::stdin())
        } else {
            let file = File::open(path).map_err(failed)?;
            bar.set_length(file.metadata().map_err(failed)?.len());
            Box::new(file)
        };
        let source = plain(BufReader::new(bar.wrap_read(raw))).map_err(failed)?;
        Ok(Self { source, line: 0 })
    }

    /// The next line and its number, from 1. Empty lines are passed over.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Parsed)>> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if (&mut self.source).take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
                return Ok(None);
            }
            self.line += 1;
            if line.len() as u64 == MAX_LINE && !line.ends_with(b"\n") {
                self.source.skip_until(b'\n')?;
                return Ok(Some((self.line, Err(format!("longer than {MAX_LINE} bytes")))));
            }
            if !line.trim_ascii().is_empty() {
                let row = serde_json::from_slice(&line).map_err(|error| format!("not a JSON object: {error}"));
                return Ok(Some((self.line, row)));
            }
        }
    }
}

/// Undoes the compression a file's first bytes tell of.
fn plain(mut file: impl BufRead + Send + 'static) -> io::Result<Box<dyn BufRead + Send>> {
    let start = file.fill_buf()?;
    Ok(if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(BufReader::new(MultiGzDecoder::new(file)))
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(BufReader::new(zstd::Decoder::with_buffer(file)?))
    } else {
        Box::new(file)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn rows(bytes: &[u8]) -> Vec<(u64, bool)> {
        let source = plain(io::Cursor::new(bytes.to_vec())).unwrap();
        let mut rows = Rows { source, line: 0 };
        std::iter::from_fn(|| rows.next().unwrap()).map(|(line, row)| (line, row.is_ok())).collect()
    }

    #[test]
    fn lines_are_numbered_whatever_the_compression() {
        let text = [&b"{\"a\": 1}\n\n[1]\n"[..], &vec![b'x'; MAX_LINE as usize + 9], b"\n{}"].concat();
        let expected = [(1, true), (3, false), (4, false), (5, true)];
        assert_eq!(rows(&text), expected);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        assert_eq!(rows(&gzip.finish().unwrap()), expected);
        let (start, end) = text.split_at(100);
        let frames = [start, end].map(|part| zstd::encode_all(part, 1).unwrap()).concat();
        assert_eq!(rows(&frames), expected);
        assert_eq!(rows(b""), []);
    }
}
