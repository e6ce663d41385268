//! One line, typed on a terminal. What a key does is decided in [`line`], which knows no terminal; this draws it.

pub(super) mod line;

use std::io::{self, Write};

use termion::event::Key;
use termion::input::TermRead as _;
use termion::raw::IntoRawMode as _;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use line::{Line, Step};

/// What was typed.
pub(super) enum Typed {
    Line(String),
    /// Ctrl-C: what was typed so far does not count.
    Nothing,
    /// Ctrl-D on an empty line.
    End,
}

/// Reads a line.
///
/// # Errors
/// When the terminal is gone.
pub(super) fn read(prompt: &str, line: &mut Line) -> io::Result<Typed> {
    let mut out = io::stdout().into_raw_mode()?;
    let mut row = 0;
    draw(&mut out, prompt, line, &mut row)?;
    for key in io::stdin().lock().keys() {
        let step = match key {
            Ok(key) => line.press(key),
            // A sequence that no key is known for.
            Err(error) if error.kind() == io::ErrorKind::Other => continue,
            Err(error) => return Err(error),
        };
        match step {
            Step::GoOn => {}
            Step::Clear => {
                write!(out, "{}{}", termion::clear::All, termion::cursor::Goto(1, 1))?;
                row = 0;
            }
            Step::Choices(words) => {
                line.press(Key::End);
                draw(&mut out, prompt, line, &mut row)?;
                write!(out, "\r\n{}\r\n", columns(&words).join("\r\n"))?;
                row = 0;
            }
            Step::Done | Step::Dropped | Step::End => {
                line.press(Key::End);
                draw(&mut out, prompt, line, &mut row)?;
                write!(out, "{}\r\n", if matches!(step, Step::Dropped) { "^C" } else { "" })?;
                out.flush()?;
                return Ok(match step {
                    Step::Done => Typed::Line(line.take()),
                    Step::End => Typed::End,
                    _ => {
                        line.take();
                        Typed::Nothing
                    }
                });
            }
        }
        draw(&mut out, prompt, line, &mut row)?;
    }
    Ok(Typed::End)
}

/// A character as it is shown: those that move the cursor by themselves are signs.
fn shown(text: &str) -> String {
    let sign = |c: char| match c {
        '\n' => '⏎',
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(sign).collect()
}

/// Columns of the terminal; one that does not say is as wide as they were.
pub(super) fn width() -> usize {
    termion::terminal_size().map_or(80, |(width, _)| if width < 2 { 80 } else { width.into() })
}

/// Draws the line over what is there; `row` is the row of the cursor, from that of the prompt.
fn draw(out: &mut impl Write, prompt: &str, line: &Line, row: &mut usize) -> io::Result<()> {
    let width = width();
    let (prompt, before, behind) = match line.search() {
        Some((wanted, found)) => (format!("(search) {wanted}: "), shown(found), String::new()),
        None => (prompt.to_owned(), shown(line.before()), shown(line.behind())),
    };
    if *row > 0 {
        write!(out, "{}", termion::cursor::Up(*row as u16))?;
    }
    write!(out, "\r{}{prompt}{before}{behind}", termion::clear::AfterCursor)?;
    let cursor = prompt.width() + before.width();
    let end = cursor + behind.width();
    if end.is_multiple_of(width) {
        // The terminal would stay on the last column until more comes.
        write!(out, "\r\n")?;
    }
    let up = end / width - cursor / width;
    if up > 0 {
        write!(out, "{}", termion::cursor::Up(up as u16))?;
    }
    write!(out, "\r")?;
    if !cursor.is_multiple_of(width) {
        write!(out, "{}", termion::cursor::Right((cursor % width) as u16))?;
    }
    *row = cursor / width;
    out.flush()
}

/// Words side by side, as many as fit.
fn columns(words: &[String]) -> Vec<String> {
    let each = words.iter().map(|word| word.width()).max().unwrap_or_default() + 2;
    let count = (width() / each).max(1);
    let padded = |word: &String| format!("{word}{}", " ".repeat(each - word.width()));
    let shown = words.iter().filter(|word| word.chars().all(|c| c.width().is_some())).map(padded).collect::<Vec<_>>();
    shown.chunks(count).map(<[String]>::concat).collect()
}
