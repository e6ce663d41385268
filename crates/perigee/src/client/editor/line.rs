//! The line that is being typed: what each key does to it.

use std::collections::VecDeque;

use termion::event::Key;

/// Lines that are remembered.
const HISTORY_MAX: usize = 1_000;
/// Words that are offered at once.
const CHOICES_MAX: usize = 200;

/// What a key has come to.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::client) enum Step {
    GoOn,
    /// Enter.
    Done,
    /// Ctrl-C.
    Dropped,
    /// Ctrl-D on an empty line.
    End,
    /// Ctrl-L.
    Clear,
    /// Words that what was typed may become.
    Choices(Vec<String>),
}

/// A line, those before it, and the words that it may have.
#[derive(Default)]
pub(in crate::client) struct Line {
    text: String,
    /// A byte of the text, between two characters.
    at: usize,
    history: VecDeque<String>,
    /// Which line of the history is shown, from the newest on; what was typed before is kept.
    recalled: Option<(usize, String)>,
    /// What is searched for in the history, and how many hits are skipped.
    search: Option<(String, usize)>,
    /// What was cut last.
    cut: String,
    words: Vec<String>,
    /// Tab was the key before.
    tabbed: bool,
}

impl Line {
    /// Adds a line to the history.
    pub(in crate::client) fn remember(&mut self, line: &str) {
        if line.trim().is_empty() || self.history.back().is_some_and(|last| last == line) {
            return;
        }
        if self.history.len() == HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(line.to_owned());
    }

    /// The words that Tab knows.
    pub(in crate::client) fn set_words(&mut self, mut words: Vec<String>) {
        words.sort_unstable();
        words.dedup();
        self.words = words;
    }

    /// What was typed; the line is empty then.
    pub(super) fn take(&mut self) -> String {
        self.at = 0;
        self.recalled = None;
        self.search = None;
        std::mem::take(&mut self.text)
    }

    pub(super) fn before(&self) -> &str {
        &self.text[..self.at]
    }

    pub(super) fn behind(&self) -> &str {
        &self.text[self.at..]
    }

    /// What is searched for, and what is found.
    pub(super) fn search(&self) -> Option<(&str, &str)> {
        let (wanted, _) = self.search.as_ref()?;
        Some((wanted, self.found().unwrap_or_default()))
    }

    fn found(&self) -> Option<&str> {
        let (wanted, skip) = self.search.as_ref()?;
        let mut hits = self.history.iter().rev().filter(|line| !wanted.is_empty() && line.contains(wanted.as_str()));
        hits.nth(*skip).map(String::as_str)
    }

    /// What a key does.
    pub(in crate::client) fn press(&mut self, key: Key) -> Step {
        if self.search.is_some()
            && let Some(step) = self.press_in_search(key)
        {
            return step;
        }
        let tabbed = std::mem::take(&mut self.tabbed);
        match key {
            Key::Char('\n' | '\r') => return Step::Done,
            Key::Char('\t') => return self.complete(tabbed),
            Key::Char(c) => self.insert(c.encode_utf8(&mut [0; 4])),
            Key::Ctrl('c') => return Step::Dropped,
            Key::Ctrl('d') if self.text.is_empty() => return Step::End,
            Key::Ctrl('l') => return Step::Clear,
            Key::Ctrl('r') => self.search = Some((String::new(), 0)),
            Key::Left | Key::Ctrl('b') => self.at = self.left(),
            Key::Right | Key::Ctrl('f') => self.at = self.right(),
            Key::Home | Key::Ctrl('a') => self.at = 0,
            Key::End | Key::Ctrl('e') => self.at = self.text.len(),
            Key::Alt('b') | Key::CtrlLeft => self.at = self.word_left(),
            Key::Alt('f') | Key::CtrlRight => self.at = self.word_right(),
            Key::Backspace | Key::Ctrl('h') => self.remove(self.left(), self.at),
            Key::Delete | Key::Ctrl('d') => self.remove(self.at, self.right()),
            Key::Ctrl('u') => self.cut(0, self.at),
            Key::Ctrl('k') => self.cut(self.at, self.text.len()),
            Key::Ctrl('w') | Key::Alt('\u{7f}') => self.cut(self.word_left(), self.at),
            Key::Alt('d') => self.cut(self.at, self.word_right()),
            Key::Ctrl('y') => self.insert(&self.cut.clone()),
            Key::Up | Key::Ctrl('p') => self.recall(true),
            Key::Down | Key::Ctrl('n') => self.recall(false),
            _ => {}
        }
        Step::GoOn
    }

    /// `None` where the search is over and the key does what it always does.
    fn press_in_search(&mut self, key: Key) -> Option<Step> {
        let (wanted, skip) = self.search.as_mut()?;
        match key {
            Key::Ctrl('r') => *skip += 1,
            Key::Char(c) if !c.is_control() => {
                wanted.push(c);
                *skip = 0;
            }
            Key::Backspace => {
                wanted.pop();
                *skip = 0;
            }
            Key::Ctrl('c' | 'g') | Key::Esc => self.search = None,
            _ => {
                if let Some(found) = self.found().map(str::to_owned) {
                    self.set(found);
                }
                self.search = None;
                return None;
            }
        }
        Some(Step::GoOn)
    }

    fn set(&mut self, text: String) {
        self.at = text.len();
        self.text = text;
    }

    fn insert(&mut self, text: &str) {
        self.text.insert_str(self.at, text);
        self.at += text.len();
    }

    fn remove(&mut self, from: usize, to: usize) {
        self.text.replace_range(from..to, "");
        self.at = from;
    }

    fn cut(&mut self, from: usize, to: usize) {
        self.cut = self.text[from..to].to_owned();
        self.remove(from, to);
    }

    fn left(&self) -> usize {
        self.before().char_indices().next_back().map_or(0, |(at, _)| at)
    }

    fn right(&self) -> usize {
        self.at + self.behind().chars().next().map_or(0, char::len_utf8)
    }

    fn word_left(&self) -> usize {
        let before = self.before().trim_end_matches(|c: char| !c.is_alphanumeric());
        before.trim_end_matches(char::is_alphanumeric).len()
    }

    fn word_right(&self) -> usize {
        let behind = self.behind().trim_start_matches(|c: char| !c.is_alphanumeric());
        self.text.len() - behind.trim_start_matches(char::is_alphanumeric).len()
    }

    /// Shows the line before, or the one behind, of the history.
    fn recall(&mut self, older: bool) {
        let shown = self.recalled.as_ref().map(|(place, _)| *place);
        let next = match (shown, older) {
            (None, true) => Some(0),
            (None, false) => return,
            (Some(place), true) => Some((place + 1).min(self.history.len().saturating_sub(1))),
            (Some(place), false) => place.checked_sub(1),
        };
        let typed = match self.recalled.take() {
            Some((_, typed)) => typed,
            None => self.text.clone(),
        };
        let Some(place) = next else { return self.set(typed) };
        let Some(line) = self.history.iter().rev().nth(place).cloned() else { return };
        self.recalled = Some((place, typed));
        self.set(line);
    }

    /// Completes the word before the cursor as far as it is clear; offers what it may become to who asks again.
    fn complete(&mut self, asked_before: bool) -> Step {
        let begin = self
            .before()
            .rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '\\')))
            .map_or(0, |at| at + self.before()[at..].chars().next().map_or(1, char::len_utf8));
        let word = self.before()[begin..].to_owned();
        if word.is_empty() {
            return Step::GoOn;
        }
        let is_upper = word.chars().all(|c| !c.is_lowercase());
        let begins =
            |candidate: &&String| candidate.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(&word));
        let found: Vec<String> = self.words.iter().filter(begins).cloned().collect();
        let Some(first) = found.first() else { return Step::GoOn };
        let common = found.iter().fold(first.len(), |common, other| {
            let same = first.bytes().zip(other.bytes()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
            common.min(same)
        });
        let common = (0..=common).rev().find(|end| first.is_char_boundary(*end)).unwrap_or_default();
        if found.len() > 1 && common <= word.len() {
            self.tabbed = true;
            return if asked_before {
                Step::Choices(found.into_iter().take(CHOICES_MAX).collect())
            } else {
                Step::GoOn
            };
        }
        // Keywords are typed in either case; names are as they are.
        let is_keyword = first.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        let completed =
            if is_keyword && !is_upper { first[..common].to_lowercase() } else { first[..common].to_owned() };
        self.remove(begin, self.at);
        self.insert(&completed);
        if found.len() == 1 {
            self.insert(" ");
        }
        Step::GoOn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types a text, in which some keys have signs.
    fn typed(line: &mut Line, keys: &str) -> Vec<Step> {
        let mut steps = Vec::new();
        for c in keys.chars() {
            let key = match c {
                '←' => Key::Left,
                '→' => Key::Right,
                '↑' => Key::Up,
                '↓' => Key::Down,
                '⌫' => Key::Backspace,
                '⌦' => Key::Delete,
                '⇤' => Key::Home,
                '⇥' => Key::Char('\t'),
                c @ '\u{1}'..='\u{8}' | c @ '\u{b}'..='\u{1a}' => Key::Ctrl(char::from(b'a' + c as u8 - 1)),
                c => Key::Char(c),
            };
            steps.push(line.press(key));
        }
        steps
    }

    fn check(keys: &str, before: &str, behind: &str) {
        let mut line = Line::default();
        line.remember("first");
        line.remember("SELECT 2");
        line.set_words(["SELECT", "SET", "sensors", "\\dt"].map(str::to_owned).to_vec());
        typed(&mut line, keys);
        assert_eq!((line.before(), line.behind()), (before, behind), "{keys:?}");
    }

    #[test]
    fn keys_change_the_line() {
        check("abc←←x", "ax", "bc");
        check("äö⌫←⌫", "", "ä");
        check("äö←⌫", "", "ö");
        check("ab⇤⌦", "", "b");
        check("one two\u{17}", "one ", "");
        check("one two\u{1}\u{b}\u{19}!", "one two!", "");
        check("one two\u{15}", "", "");
        check("→→⌦⌫\u{17}\u{b}", "", "");
    }

    #[test]
    fn lines_are_recalled_and_found() {
        check("x↑", "SELECT 2", "");
        check("x↑↑↑", "first", "");
        check("x↑↑↓↓", "x", "");
        check("↓x", "x", "");
        check("\u{12}irs→", "first", "");
        check("\u{12}S\u{12}→", "", "");
        check("x\u{12}nothing→", "x", "");
    }

    #[test]
    fn words_are_completed() {
        check("sel⇥", "select ", "");
        check("SEL⇥", "SELECT ", "");
        check("sen⇥", "sensors ", "");
        check("\\d⇥", "\\dt ", "");
        check("a.sen⇥", "a.sen", "");
        check("se⇥", "se", "");
        let mut line = Line::default();
        line.set_words(["SELECT", "SET"].map(str::to_owned).to_vec());
        let steps = typed(&mut line, "se⇥⇥");
        assert_eq!(steps.last(), Some(&Step::Choices(vec!["SELECT".to_owned(), "SET".to_owned()])));
    }

    #[test]
    fn ends_are_told() {
        let mut line = Line::default();
        assert_eq!(line.press(Key::Ctrl('d')), Step::End);
        assert_eq!(line.press(Key::Ctrl('c')), Step::Dropped);
        assert_eq!(typed(&mut line, "x\n").last(), Some(&Step::Done));
        assert_eq!(line.take(), "x");
        assert_eq!(line.before(), "");
    }

    #[test]
    fn the_history_is_bounded() {
        let mut line = Line::default();
        for i in 0..HISTORY_MAX + 5 {
            line.remember(&i.to_string());
            line.remember(&i.to_string());
        }
        assert_eq!((line.history.len(), line.history.front().map(String::as_str)), (HISTORY_MAX, Some("5")));
    }
}
