//! The types of ltree: paths of labels, and patterns and queries of them.
//!
//! A path is kept as its labels with the byte 1 between them, which is less than those of every label: so paths order by their
//! labels, and one comes behind what it begins with.

use std::fmt;

use crate::error::{SqlError, SqlResult};

/// Between labels as they are kept.
const BETWEEN: &str = "\u{1}";
/// The longest label, in characters.
const LABEL_MAX: usize = 1_000;
/// Most labels of a path, most levels of a pattern, and most of what repeats.
const LEVELS_MAX: usize = 65_535;
/// How deep a query of words may nest, and how many words it may have: it is read and asked by calls within calls.
const NESTED_MAX: usize = 100;
const WORDS_MAX: usize = 1_000;

fn is_label(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-')
}

fn syntax(what: &str, at: Option<usize>) -> SqlError {
    match at {
        Some(at) => SqlError::syntax(format!("{what} syntax error at character {}", at + 1)),
        None => SqlError::syntax(format!("{what} syntax error")).detail("Unexpected end of input."),
    }
}

/// A path's text as the bytes that are kept.
pub(super) fn parse(text: &str) -> SqlResult<Vec<u8>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut labels = Vec::new();
    let mut at = 0;
    for label in text.split('.') {
        match label.chars().position(|c| !is_label(c)) {
            Some(wrong) => return Err(syntax("ltree", Some(at + wrong))),
            None if label.is_empty() && at + 1 > text.chars().count() => return Err(syntax("ltree", None)),
            None if label.is_empty() => return Err(syntax("ltree", Some(at))),
            None => {}
        }
        check_label(label)?;
        at += label.chars().count() + 1;
        labels.push(label);
    }
    if labels.len() > LEVELS_MAX {
        return Err(too_many("ltree labels", labels.len()));
    }
    Ok(encode(&labels))
}

fn check_label(label: &str) -> SqlResult<()> {
    let length = label.chars().count();
    if length <= LABEL_MAX {
        return Ok(());
    }
    let detail = format!("Label length is {length}, must be at most {LABEL_MAX}.");
    Err(SqlError::new(crate::SqlState::NameTooLong, "label string is too long").detail(detail))
}

fn too_many(what: &str, count: usize) -> SqlError {
    let message = format!("number of {what} ({count}) exceeds the maximum allowed ({LEVELS_MAX})");
    SqlError::new(crate::SqlState::ProgramLimitExceeded, message)
}

/// The bytes of a path of these labels.
#[must_use]
pub fn encode<L: AsRef<str>>(labels: &[L]) -> Vec<u8> {
    let labels: Vec<&str> = labels.iter().map(AsRef::as_ref).collect();
    labels.join(BETWEEN).into_bytes()
}

/// The labels of a path.
#[must_use]
pub fn labels(kept: &[u8]) -> Vec<&str> {
    match std::str::from_utf8(kept) {
        Ok("") | Err(_) => Vec::new(),
        Ok(text) => text.split(BETWEEN).collect(),
    }
}

pub(super) fn format(kept: &[u8]) -> String {
    labels(kept).join(".")
}

/// How a label is compared with one of a pattern or a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Word {
    text: String,
    /// `*`: the label begins with it
    prefix: bool,
    /// `@`: whatever the case
    any_case: bool,
    /// `%`: words between underscores
    words: bool,
}

impl Word {
    fn fits(&self, label: &str) -> bool {
        let text = if self.any_case { self.text.to_lowercase() } else { self.text.clone() };
        let label = if self.any_case { label.to_lowercase() } else { label.to_owned() };
        let alike = |label: &str, text: &str| if self.prefix { label.starts_with(text) } else { label == text };
        if !self.words {
            return alike(&label, &text);
        }
        // The words of the one stand in those of the other, in order and without others between.
        let (label, text): (Vec<&str>, Vec<&str>) = (label.split('_').collect(), text.split('_').collect());
        label.windows(text.len()).any(|part| part.iter().zip(&text).all(|(label, text)| alike(label, text)))
    }

    fn modify(&mut self, mark: char) -> bool {
        match mark {
            '*' => self.prefix = true,
            '@' => self.any_case = true,
            '%' => self.words = true,
            _ => return false,
        }
        true
    }
}

/// One level of a pattern: how often it repeats, and the words that fit it; none fit all labels.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Level {
    negated: bool,
    words: Vec<Word>,
    least: usize,
    most: usize,
}

impl Level {
    fn fits(&self, label: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| word.fits(label)) != self.negated
    }
}

/// An `lquery`: a pattern of a whole path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelQuery(Vec<Level>);

impl LevelQuery {
    /// Reads a pattern.
    ///
    /// # Errors
    /// `42601`
    pub fn parse(text: &str) -> SqlResult<LevelQuery> {
        let chars: Vec<char> = text.trim_ascii().chars().collect();
        let mut reader = Chars { chars: &chars, at: 0, words: 0, of: "lquery" };
        let mut levels = Vec::new();
        loop {
            levels.push(reader.level()?);
            if levels.len() > LEVELS_MAX {
                return Err(too_many("lquery levels", levels.len()));
            }
            match reader.next() {
                None => return Ok(LevelQuery(levels)),
                Some('.') => {}
                Some(_) => return Err(reader.wrong(1)),
            }
        }
    }

    /// Whether a path fits, label by label.
    #[must_use]
    pub fn fits(&self, path: &[&str]) -> bool {
        // Whether the levels so far may have taken so many labels.
        let mut reached = vec![false; path.len() + 1];
        reached[0] = true;
        for level in &self.0 {
            // How many of the first so many places are reached.
            let mut sums = vec![0; path.len() + 2];
            for (at, there) in reached.iter().enumerate() {
                sums[at + 1] = sums[at] + usize::from(*there);
            }
            // How many labels up to here fit without one between that does not.
            let mut run = 0;
            for end in 0..=path.len() {
                run = if end == 0 || !level.fits(path[end - 1]) { 0 } else { run + 1 };
                let first = end - run.min(level.most);
                reached[end] =
                    end.checked_sub(level.least).is_some_and(|last| last >= first && sums[last + 1] > sums[first]);
            }
        }
        reached[path.len()]
    }
}

struct Chars<'a> {
    chars: &'a [char],
    at: usize,
    words: usize,
    of: &'static str,
}

impl Chars<'_> {
    fn next(&mut self) -> Option<char> {
        let found = self.chars.get(self.at).copied();
        self.at += 1;
        found
    }

    fn takes(&mut self, mark: char) -> bool {
        let found = self.chars.get(self.at) == Some(&mark);
        self.at += usize::from(found);
        found
    }

    fn blanks(&mut self) {
        while self.chars.get(self.at).is_some_and(|c| c.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// An error at so many characters before the place.
    fn wrong(&self, before: usize) -> SqlError {
        let at = self.at.saturating_sub(before);
        syntax(self.of, (at < self.chars.len()).then_some(at))
    }

    fn word(&mut self) -> SqlResult<Word> {
        let start = self.at;
        while self.chars.get(self.at).is_some_and(|c| is_label(*c)) {
            self.at += 1;
        }
        let mut word = Word { text: self.chars[start..self.at].iter().collect(), ..Word::default() };
        if word.text.is_empty() {
            return Err(self.wrong(0));
        }
        check_label(&word.text)?;
        while self.chars.get(self.at).is_some_and(|mark| word.modify(*mark)) {
            self.at += 1;
        }
        Ok(word)
    }

    fn number(&mut self) -> SqlResult<Option<usize>> {
        let start = self.at;
        while self.chars.get(self.at).is_some_and(char::is_ascii_digit) {
            self.at += 1;
        }
        let digits: String = self.chars[start..self.at].iter().collect();
        if digits.is_empty() {
            return Ok(None);
        }
        digits.parse().ok().filter(|number| *number <= LEVELS_MAX).map(Some).ok_or_else(|| self.wrong(1))
    }

    /// `{n}`, `{n,}`, `{,m}` or `{n,m}`.
    fn repeats(&mut self) -> SqlResult<Option<(usize, usize)>> {
        if !self.takes('{') {
            return Ok(None);
        }
        let least = self.number()?;
        let (least, most) = if self.takes(',') {
            (least.unwrap_or(0), self.number()?.unwrap_or(LEVELS_MAX))
        } else {
            let count = least.ok_or_else(|| self.wrong(0))?;
            (count, count)
        };
        if !self.takes('}') || least > most {
            return Err(self.wrong(0));
        }
        Ok(Some((least, most)))
    }

    fn level(&mut self) -> SqlResult<Level> {
        if self.takes('*') {
            let (least, most) = self.repeats()?.unwrap_or((0, LEVELS_MAX));
            return Ok(Level { negated: false, words: Vec::new(), least, most });
        }
        let negated = self.takes('!');
        let mut words = vec![self.word()?];
        while self.takes('|') {
            words.push(self.word()?);
        }
        let (least, most) = self.repeats()?.unwrap_or((1, 1));
        Ok(Level { negated, words, least, most })
    }
}

/// An `ltxtquery`: words that a path has, or has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WordQuery {
    /// A label of the path fits.
    Word(Label),
    /// The other does not hold.
    Not(Box<WordQuery>),
    /// Both hold.
    And(Box<WordQuery>, Box<WordQuery>),
    /// One of them holds.
    Or(Box<WordQuery>, Box<WordQuery>),
}

/// A word of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(Word);

impl WordQuery {
    /// Reads a query.
    ///
    /// # Errors
    /// `42601`, `54001` where it nests too deep.
    pub fn parse(text: &str) -> SqlResult<WordQuery> {
        let chars: Vec<char> = text.chars().collect();
        let mut reader = Chars { chars: &chars, at: 0, words: 0, of: "ltxtquery" };
        let query = reader.either(0)?;
        reader.blanks();
        if reader.at < chars.len() { Err(reader.wrong(0)) } else { Ok(query) }
    }

    /// Whether a path has what is asked for.
    #[must_use]
    pub fn fits(&self, path: &[&str]) -> bool {
        match self {
            WordQuery::Word(word) => path.iter().any(|label| word.0.fits(label)),
            WordQuery::Not(of) => !of.fits(path),
            WordQuery::And(left, right) => left.fits(path) && right.fits(path),
            WordQuery::Or(left, right) => left.fits(path) || right.fits(path),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            WordQuery::Or(..) => 0,
            WordQuery::And(..) => 1,
            WordQuery::Not(_) => 2,
            WordQuery::Word(_) => 3,
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, within: u8) -> fmt::Result {
        let rank = self.rank();
        if rank < within {
            f.write_str("( ")?;
        }
        match self {
            WordQuery::Word(Label(word)) => {
                f.write_str(&word.text)?;
                let marks = [(word.words, "%"), (word.any_case, "@"), (word.prefix, "*")];
                marks.iter().filter(|(there, _)| *there).try_for_each(|(_, mark)| f.write_str(mark))?;
            }
            WordQuery::Not(of) => {
                f.write_str("!")?;
                of.write(f, rank)?;
            }
            WordQuery::And(left, right) => {
                left.write(f, rank)?;
                f.write_str(" & ")?;
                right.write(f, rank)?;
            }
            WordQuery::Or(left, right) => {
                left.write(f, rank)?;
                f.write_str(" | ")?;
                right.write(f, rank)?;
            }
        }
        if rank < within { f.write_str(" )") } else { Ok(()) }
    }
}

impl fmt::Display for WordQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

impl Chars<'_> {
    fn either(&mut self, depth: usize) -> SqlResult<WordQuery> {
        let mut left = self.both(depth)?;
        loop {
            self.blanks();
            if !self.takes('|') {
                return Ok(left);
            }
            left = WordQuery::Or(Box::new(left), Box::new(self.both(depth)?));
        }
    }

    fn both(&mut self, depth: usize) -> SqlResult<WordQuery> {
        let mut left = self.one(depth)?;
        loop {
            self.blanks();
            if !self.takes('&') {
                return Ok(left);
            }
            left = WordQuery::And(Box::new(left), Box::new(self.one(depth)?));
        }
    }

    fn one(&mut self, depth: usize) -> SqlResult<WordQuery> {
        self.words += 1;
        if depth > NESTED_MAX || self.words > WORDS_MAX {
            return Err(SqlError::new(crate::SqlState::StatementTooComplex, "ltxtquery is too large"));
        }
        self.blanks();
        if self.takes('!') {
            return Ok(WordQuery::Not(Box::new(self.one(depth + 1)?)));
        }
        if !self.takes('(') {
            return Ok(WordQuery::Word(Label(self.word()?)));
        }
        let inner = self.either(depth + 1)?;
        self.blanks();
        if self.takes(')') { Ok(inner) } else { Err(self.wrong(0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let check = |text: &str, want: &str| {
            let got = parse(text).map_or_else(|error| error.state().code().to_owned(), |kept| format(&kept));
            assert_eq!(got, want, "{text}");
        };
        check("", "");
        check("Top.Science_1.x", "Top.Science_1.x");
        check("a..b", "42601");
        check(".a", "42601");
        check("a.", "42601");
        check("a b", "42601");
        assert!(parse("a").unwrap() < parse("a.b").unwrap());
        assert!(parse("a.b").unwrap() < parse("ab").unwrap());
    }

    #[test]
    fn patterns() {
        let path: Vec<&str> = "Top.Science.Astronomy_x.Stars".split('.').collect();
        let check = |text: &str, want: bool| {
            assert_eq!(LevelQuery::parse(text).unwrap().fits(&path), want, "{text}");
        };
        check("*", true);
        check("Top.*", true);
        check("*.Stars", true);
        check("Top.*{1}.Stars", false);
        check("Top.*{2}.Stars", true);
        check("Top.*{,1}.Stars", false);
        check("Top.science@.Astro*.!Moons", true);
        check("Top.Science.x%.Stars|Moons", true);
        check("Top.Science.Astronomy.Stars", false);
        check("!Top.*", false);
        check("*.!Pictures|Science.*", true);
        check("Top{1,2}.*", true);
        for wrong in ["", "a..b", "a.*{3,1}", "a.*{x}", "a|", "a b"] {
            assert_eq!(LevelQuery::parse(wrong).unwrap_err().state().code(), "42601", "{wrong}");
        }
    }

    #[test]
    fn queries_of_words() {
        let path: Vec<&str> = "Top.Science.Astronomy".split('.').collect();
        let check = |text: &str, shown: &str, want: bool| {
            let query = WordQuery::parse(text).unwrap();
            assert_eq!((query.to_string().as_str(), query.fits(&path)), (shown, want), "{text}");
        };
        check("Top&Science", "Top & Science", true);
        check("Top & !Science", "Top & !Science", false);
        check("(a|Astro*)&top@", "( a | Astro* ) & top@", true);
        check("!(a | Top)", "!( a | Top )", false);
        for wrong in ["", "a &", "(a", "a b"] {
            assert_eq!(WordQuery::parse(wrong).unwrap_err().state().code(), "42601", "{wrong}");
        }
        for large in ["(".repeat(10_000), "a&".repeat(10_000)] {
            assert_eq!(WordQuery::parse(&large).unwrap_err().state().code(), "54001");
        }
    }
}
