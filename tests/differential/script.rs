//! The files of statements.
//!
//! A statement ends with the line that ends with `;`, outside of `$$`. Several on one line go in one message. Comments
//! stand on lines of their own. Lines with `-->` say how the next statement is sent:
//!
//! ```text
//! --> extended                 Parse, Bind, Describe, Execute
//! --> binary                   the same, results in the binary format
//! --> params 7 | text | NULL   the same, with parameters
//! --> session b                in a session of that name, which stays open until the file's end
//! ```
//!
//! Behind `COPY … FROM STDIN;` the data follow, up to a line `\.`.

/// A statement and how it is sent.
#[derive(Debug, Default)]
pub(super) struct Statement {
    pub(super) line: usize,
    pub(super) sql: String,
    pub(super) extended: bool,
    pub(super) binary: bool,
    pub(super) parameters: Vec<Option<String>>,
    pub(super) session: String,
    pub(super) copy_data: String,
}

/// The statements of a file's text.
pub(super) fn parse(text: &str) -> Result<Vec<Statement>, String> {
    let mut statements = Vec::new();
    let mut next = Statement::default();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if next.sql.is_empty() {
            if let Some(directive) = line.strip_prefix("--> ") {
                direct(&mut next, directive).map_err(|error| format!("line {}: {error}", number + 1))?;
                continue;
            }
            if line.trim().is_empty() || line.starts_with("--") {
                continue;
            }
            next.line = number + 1;
        }
        next.sql.push_str(line);
        if line.trim_end().ends_with(';') && next.sql.matches("$$").count() % 2 == 0 {
            if is_copy_in(&next.sql) {
                for (_, line) in lines.by_ref().take_while(|(_, line)| *line != "\\.") {
                    next.copy_data.push_str(line);
                    next.copy_data.push('\n');
                }
            }
            statements.push(std::mem::take(&mut next));
        } else {
            next.sql.push('\n');
        }
    }
    if next.sql.is_empty() { Ok(statements) } else { Err(format!("line {}: no end", next.line)) }
}

fn is_copy_in(sql: &str) -> bool {
    let sql = sql.to_ascii_lowercase();
    sql.starts_with("copy") && sql.contains("from stdin")
}

fn direct(next: &mut Statement, directive: &str) -> Result<(), String> {
    let (word, rest) = directive.split_once(' ').unwrap_or((directive, ""));
    match word {
        "extended" => {}
        "binary" => next.binary = true,
        "params" => {
            let value = |text: &str| (text != "NULL").then(|| text.to_owned());
            next.parameters = rest.split('|').map(|text| value(text.trim())).collect();
        }
        "session" => {
            next.session = rest.to_owned();
            return Ok(());
        }
        other => return Err(format!("no such word: {other}")),
    }
    next.extended = true;
    Ok(())
}

impl Statement {
    /// What it is known by in the lists: its text in one line, and how it is sent.
    pub(super) fn label(&self) -> String {
        let mut label = self.sql.split_whitespace().collect::<Vec<_>>().join(" ");
        if self.binary {
            label.push_str(" (binary)");
        } else if self.extended {
            label.push_str(" (extended)");
        }
        label
    }
}
