//! Results on standard output, and what is said beside them on standard error.

mod csv;
mod json;
mod table;

use std::io::{BufWriter, IsTerminal as _, Stdout, Write};

use perigee_api::v1;
use perigee_api::v1::value::Kind;

use crate::cli::ResultForm;
use crate::client::connection::clean;
use crate::client::editor;

/// Rows that one table has at most: its widths are known before it is drawn.
const TABLE_ROWS: usize = 10_000;

/// A cell: `None` is NULL.
pub(super) type Cell = Option<Kind>;

/// When rows are shown below one another, a column on each line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expanded {
    Off,
    On,
    /// Where a table would be wider than the terminal.
    Auto,
}

/// How results are shown, and the one that is being shown.
pub(super) struct Output {
    pub(super) form: ResultForm,
    pub(super) expanded: Expanded,
    /// Rows of a result that are shown; the rest is counted.
    rows_max: u64,
    columns: Vec<v1::Column>,
    kept: Vec<Vec<Cell>>,
    /// Rows that have come, and those of them that tables have.
    shown: u64,
    drawn: u64,
    has_begun: bool,
    out: BufWriter<Stdout>,
    /// Columns of the terminal, if it is one.
    width: Option<usize>,
}

impl Output {
    pub(super) fn new(form: ResultForm, rows_max: Option<u64>) -> Self {
        let width = std::io::stdout().is_terminal().then(editor::width);
        Self {
            form,
            expanded: if width.is_some() { Expanded::Auto } else { Expanded::Off },
            rows_max: rows_max.unwrap_or(u64::MAX),
            columns: Vec::new(),
            kept: Vec::new(),
            shown: 0,
            drawn: 0,
            has_begun: false,
            out: BufWriter::new(std::io::stdout()),
            width,
        }
    }

    /// A result begins.
    pub(super) fn begin(&mut self, columns: Vec<v1::Column>) {
        self.width = self.width.map(|_| editor::width());
        (self.columns, self.shown, self.drawn, self.has_begun) = (columns, 0, 0, true);
        self.kept.clear();
        let names = self.columns.iter().map(|column| column.name.as_str());
        let written = match self.form {
            ResultForm::Table => Ok(()),
            ResultForm::Json => self.out.write_all(b"["),
            ResultForm::Csv => csv::line(&mut self.out, names.map(Some)),
        };
        self.written(written);
    }

    pub(super) fn rows(&mut self, rows: Vec<v1::Row>) {
        for row in rows {
            self.shown += 1;
            if self.shown > self.rows_max {
                continue;
            }
            let cell = |(value, column): (v1::Value, &v1::Column)| {
                let is_real = column.r#type.starts_with("real");
                value.kind.map(|kind| if is_real { narrowed(kind) } else { kind })
            };
            let cells: Vec<Cell> = row.values.into_iter().zip(&self.columns).map(cell).collect();
            let written = match self.form {
                ResultForm::Table => {
                    self.kept.push(cells);
                    if self.kept.len() == TABLE_ROWS { self.draw() } else { Ok(()) }
                }
                ResultForm::Json => json::row(&mut self.out, &self.columns, &cells, self.shown == 1),
                ResultForm::Csv => {
                    let texts: Vec<_> = cells.iter().map(text).collect();
                    csv::line(&mut self.out, texts.iter().map(Option::as_deref))
                }
            };
            self.written(written);
        }
    }

    /// A statement is done.
    pub(super) fn end(&mut self, summary: &v1::Summary) {
        for notice in &summary.notices {
            eprintln!("{}: {}", notice.severity, clean(&notice.message));
        }
        let written = match (self.form, std::mem::take(&mut self.has_begun)) {
            (ResultForm::Table, true) => self.draw().and_then(|()| self.footer()),
            (ResultForm::Table, false) => writeln!(self.out, "{}", summary.command),
            (ResultForm::Json, true) => self.out.write_all(if self.shown == 0 { b"]\n" as &[u8] } else { b"\n]\n" }),
            // What a command says of itself is no result.
            (ResultForm::Json | ResultForm::Csv, _) => Ok(()),
        };
        let written = written.and_then(|()| self.out.flush());
        self.written(written);
    }

    /// A result ends before its end.
    pub(super) fn abandon(&mut self) {
        self.has_begun = false;
        self.kept.clear();
        let written = self.out.flush();
        self.written(written);
    }

    fn draw(&mut self) -> std::io::Result<()> {
        let kept = std::mem::take(&mut self.kept);
        if kept.is_empty() && self.shown > 0 {
            return Ok(());
        }
        self.drawn += kept.len() as u64;
        let table = table::Table::new(&self.columns, &kept);
        let is_wide = self.width.is_some_and(|width| table.width() > width);
        let expanded = self.expanded == Expanded::On || self.expanded == Expanded::Auto && is_wide;
        if expanded {
            table.draw_expanded(&mut self.out, self.drawn - kept.len() as u64)
        } else {
            table.draw(&mut self.out)
        }
    }

    fn footer(&mut self) -> std::io::Result<()> {
        let left_out = self.shown.saturating_sub(self.rows_max);
        let rows = if self.shown == 1 { "row" } else { "rows" };
        match left_out {
            0 => writeln!(self.out, "({} {rows})", self.shown),
            left_out => writeln!(self.out, "({} {rows}, {left_out} of them not shown)", self.shown),
        }
    }

    /// Whoever reads has gone: so does the client, as `cat` would.
    fn written(&self, written: std::io::Result<()>) {
        if let Err(error) = written {
            if error.kind() != std::io::ErrorKind::BrokenPipe {
                eprintln!("perigee: standard output: {error}");
            }
            std::process::exit(1);
        }
    }
}

/// PostgreSQL's text of a cell.
fn text(cell: &Cell) -> Option<String> {
    cell.as_ref().map(perigee_grpc::text)
}

/// A `real` comes as a double, which has digits that were never kept: without them.
fn narrowed(kind: Kind) -> Kind {
    match kind {
        Kind::Double(value) => Kind::Double((value as f32).to_string().parse().unwrap_or(value)),
        Kind::Array(array) => {
            let narrow = |value: v1::Value| v1::Value { kind: value.kind.map(narrowed) };
            Kind::Array(v1::Array { values: array.values.into_iter().map(narrow).collect() })
        }
        kind => kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reals_have_their_own_digits() {
        for (value, expected) in [(0.1, "0.1"), (1e30, "1e+30"), (f32::INFINITY, "Infinity"), (-0.0, "-0")] {
            assert_eq!(perigee_grpc::text(&narrowed(Kind::Double(value.into()))), expected);
        }
    }
}
