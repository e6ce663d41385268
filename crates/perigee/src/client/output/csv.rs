//! CSV as COPY reads it: NULL is nothing, the empty text is `""`.

use std::io::{self, Write};

/// Writes one line.
pub(super) fn line<'a>(out: &mut impl Write, cells: impl Iterator<Item = Option<&'a str>>) -> io::Result<()> {
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            out.write_all(b",")?;
        }
        match cell {
            None => {}
            Some(text) if text.is_empty() || text == "\\." || text.contains(['"', ',', '\n', '\r']) => {
                write!(out, "\"{}\"", text.replace('"', "\"\""))?;
            }
            Some(text) => out.write_all(text.as_bytes())?,
        }
    }
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_read_as_something_else_is_quoted() {
        let mut out = Vec::new();
        let cells = [Some("a"), None, Some(""), Some("x,y"), Some("say \"x\""), Some("1\n2")];
        line(&mut out, cells.into_iter()).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "a,,\"\",\"x,y\",\"say \"\"x\"\"\",\"1\n2\"\n");
    }
}
