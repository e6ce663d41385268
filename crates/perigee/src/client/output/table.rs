//! A result in a box.

use std::io::{self, Write};

use perigee_api::v1;
use unicode_width::UnicodeWidthStr as _;

use super::{Cell, text};
use crate::client::connection::clean;

const NULL: &str = "NULL";
/// Types whose values stand on the right.
const NUMBERS: [&str; 7] = ["smallint", "integer", "bigint", "real", "double precision", "numeric", "oid"];

/// Rows as lines of text, and how wide they are.
pub(super) struct Table {
    names: Vec<String>,
    is_number: Vec<bool>,
    /// Lines of each cell.
    rows: Vec<Vec<Vec<String>>>,
    widths: Vec<usize>,
}

impl Table {
    pub(super) fn new(columns: &[v1::Column], rows: &[Vec<Cell>]) -> Self {
        let names: Vec<String> = columns.iter().map(|column| clean(&column.name).replace(['\n', '\t'], " ")).collect();
        let is_number =
            columns.iter().map(|c| NUMBERS.contains(&c.r#type.split('(').next().unwrap_or_default())).collect();
        let lines = |cell: &Cell| -> Vec<String> {
            let text = text(cell).map_or_else(|| NULL.to_owned(), |text| clean(&text).replace('\t', "    "));
            text.split('\n').map(str::to_owned).collect()
        };
        let rows: Vec<Vec<Vec<String>>> = rows.iter().map(|row| row.iter().map(lines).collect()).collect();
        let mut widths: Vec<usize> = names.iter().map(|name| name.width()).collect();
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.iter().map(|line| line.width()).chain([*width]).max().unwrap_or_default();
            }
        }
        Self { names, is_number, rows, widths }
    }

    /// Columns of a terminal that it takes.
    pub(super) fn width(&self) -> usize {
        self.widths.iter().map(|width| width + 3).sum::<usize>() + 1
    }

    pub(super) fn draw(&self, out: &mut impl Write) -> io::Result<()> {
        self.rule(out, ['┌', '┬', '┐'])?;
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        self.line(out, &names, &[])?;
        self.rule(out, ['├', '┼', '┤'])?;
        for row in &self.rows {
            let height = row.iter().map(Vec::len).max().unwrap_or_default();
            for at in 0..height {
                let cells: Vec<&str> = row.iter().map(|cell| cell.get(at).map_or("", String::as_str)).collect();
                self.line(out, &cells, &self.is_number)?;
            }
        }
        self.rule(out, ['└', '┴', '┘'])
    }

    /// A row below the other; `before` of the result were drawn.
    pub(super) fn draw_expanded(&self, out: &mut impl Write, before: u64) -> io::Result<()> {
        let width = self.names.iter().map(|name| name.width()).max().unwrap_or_default();
        for (number, row) in (before + 1..).zip(&self.rows) {
            writeln!(out, "─ {number} {}", "─".repeat(width.max(20)))?;
            for (name, cell) in self.names.iter().zip(row) {
                for (at, line) in cell.iter().enumerate() {
                    let name = if at == 0 { name.as_str() } else { "" };
                    writeln!(out, "{name}{} │ {line}", " ".repeat(width - name.width()))?;
                }
            }
        }
        Ok(())
    }

    fn rule(&self, out: &mut impl Write, [left, middle, right]: [char; 3]) -> io::Result<()> {
        let parts: Vec<String> = self.widths.iter().map(|width| "─".repeat(width + 2)).collect();
        writeln!(out, "{left}{}{right}", parts.join(&middle.to_string()))
    }

    fn line(&self, out: &mut impl Write, cells: &[&str], is_number: &[bool]) -> io::Result<()> {
        for (at, (cell, width)) in cells.iter().zip(&self.widths).enumerate() {
            let space = " ".repeat(width - cell.width());
            if is_number.get(at).copied().unwrap_or_default() {
                write!(out, "│ {space}{cell} ")?;
            } else {
                write!(out, "│ {cell}{space} ")?;
            }
        }
        writeln!(out, "│")
    }
}

#[cfg(test)]
mod tests {
    use perigee_api::v1::value::Kind;

    use super::*;

    fn table() -> Table {
        let column = |name: &str, ty: &str| v1::Column { name: name.to_owned(), r#type: ty.to_owned() };
        let text = |text: &str| Some(Kind::Text(text.to_owned()));
        let rows = [
            vec![Some(Kind::Integer(7)), text("grün\n二 lines")],
            vec![Some(Kind::Integer(-12)), None],
            vec![None, text("\u{1b}[2J")],
        ];
        Table::new(&[column("n", "integer"), column("what", "text")], &rows)
    }

    #[test]
    fn a_box_is_drawn() {
        let mut out = Vec::new();
        table().draw(&mut out).unwrap();
        let expected = "\
┌──────┬──────────┐
│ n    │ what     │
├──────┼──────────┤
│    7 │ grün     │
│      │ 二 lines │
│  -12 │ NULL     │
│ NULL │ \u{fffd}[2J     │
└──────┴──────────┘
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn rows_are_drawn_below_one_another() {
        let mut out = Vec::new();
        table().draw_expanded(&mut out, 4).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with("─ 5 ─") && text.contains("\nn    │ 7\nwhat │ grün\n     │ 二 lines\n─ 6 ─"),
            "{text}"
        );
        assert_eq!(table().width(), 19);
    }
}
