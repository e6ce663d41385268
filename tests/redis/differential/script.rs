//! The scripts: one command a line, words quoted as for redis-cli, `#` before comments.
//!
//! Words with `@` before a command say how it is sent and compared; they may stand before each other:
//!
//! ```text
//! @conn b       on this connection; on a line of its own: all lines from here on (no name: the first connection)
//! @unordered    elements of the reply come in any order        @pairs   so do a flat array's pairs
//! @deep         elements at every depth come in any order
//! @near 5       numbers may differ by so much, also as texts
//! @shape        only kinds and counts are compared             @kind    only the outermost kind
//! @names        of `name:value` and `name=value` only names; those of Redis must be there
//! @replies 2    so many replies (or pushes) come
//! @later        the reply comes later: with @receive
//! @silent       no reply comes
//! @save c 0     keeps element 0 of the reply (or, without the number, the reply) as ${c}
//! @scan         follows the cursor of SCAN and its like to the end; all elements in any order
//! ```
//!
//! and these stand alone: `@flush` empties the server, `@sleep 20` waits (ms), `@receive` takes a reply that has not come yet,
//! `@raw "PING\r\n"` sends bytes. `PING => PONG` asks Perigee alone and has the reply, as [`perigee_testkit::resp::Value`] is
//! shown; ` | ` separates that of RESP2 from that of RESP3 where they differ.
//!
//! `$rep(x,1000)` is a long word, `$seq(1,200)` and `$seq(1,200,a)` are many words, `$pairs(1,200)` are fields and values,
//! `$scores(1,200)` scores and members.

/// A line of a script.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) line: usize,
    /// The line as it stands there, without directives.
    pub(super) text: String,
    pub(super) connection: String,
    pub(super) action: Action,
    pub(super) how: How,
    pub(super) replies: usize,
    pub(super) silent: bool,
    pub(super) save: Option<(String, Option<usize>)>,
    /// Replies in RESP2 and RESP3 where Perigee alone is asked.
    pub(super) want: Option<[String; 2]>,
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    Command(Vec<Word>),
    Scan(Vec<Word>),
    Raw(Vec<u8>),
    Receive,
    Flush,
    Sleep(u64),
}

/// How replies are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum How {
    Exact,
    Unordered,
    Pairs,
    Deep,
    Near(f64),
    Shape,
    Kind,
    Names,
}

/// An argument: bytes, and values that were saved.
pub(super) type Word = Vec<Part>;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Bytes(Vec<u8>),
    Saved(String),
}

/// The steps of a script's text.
pub(super) fn parse(text: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut connection = String::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match step(number + 1, line, &connection).map_err(|error| format!("line {}: {error}", number + 1))? {
            Parsed::Step(step) => steps.push(*step),
            Parsed::Connection(name) => connection = name,
        }
    }
    Ok(steps)
}

enum Parsed {
    Step(Box<Step>),
    Connection(String),
}

fn step(number: usize, line: &str, connection: &str) -> Result<Parsed, String> {
    let mut step = Step {
        line: number,
        text: String::new(),
        connection: connection.to_owned(),
        action: Action::Receive,
        how: How::Exact,
        replies: 1,
        silent: false,
        save: None,
        want: None,
    };
    let (mut rest, mut scan) = (line, false);
    while let Some(directive) = rest.strip_prefix('@') {
        let (word, behind) = cut(directive);
        rest = behind;
        let mut argument = || {
            let (word, behind) = cut(rest);
            rest = behind;
            word
        };
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text} is no number"));
        match word {
            "conn" => {
                let name = argument().to_owned();
                if rest.is_empty() {
                    return Ok(Parsed::Connection(name));
                }
                step.connection = name;
            }
            "unordered" => step.how = How::Unordered,
            "pairs" => step.how = How::Pairs,
            "near" => step.how = How::Near(argument().parse().map_err(|_| "@near wants a number")?),
            "deep" => step.how = How::Deep,
            "shape" => step.how = How::Shape,
            "kind" => step.how = How::Kind,
            "names" => step.how = How::Names,
            "replies" => step.replies = usize::try_from(number(argument())?).map_err(|error| error.to_string())?,
            "later" => step.replies = 0,
            "silent" => step.silent = true,
            "save" => {
                let name = argument().to_owned();
                let (index, behind) = cut(rest);
                let index = index.parse().ok();
                if index.is_some() {
                    rest = behind;
                }
                step.save = Some((name, index));
            }
            "scan" => scan = true,
            "flush" => step.action = Action::Flush,
            "sleep" => step.action = Action::Sleep(number(argument())?),
            "receive" => {}
            "raw" => {
                let words = words(rest)?;
                let [Some(Part::Bytes(bytes))] = words.iter().map(|word| word.first()).collect::<Vec<_>>()[..] else {
                    return Err("@raw wants one word".to_owned());
                };
                step.action = Action::Raw(bytes.clone());
                step.text = format!("@raw {rest}");
                rest = "";
            }
            other => return Err(format!("no such directive: @{other}")),
        }
    }
    if rest.is_empty() {
        if step.text.is_empty() {
            step.text = line.to_owned();
        }
        return Ok(Parsed::Step(Box::new(step)));
    }
    let (command, want) = match rest.split_once(" => ") {
        Some((command, want)) => (command.trim(), Some(want.trim())),
        None => (rest, None),
    };
    step.want = want.map(|want| match want.split_once(" | ") {
        Some((first, second)) => [first.to_owned(), second.to_owned()],
        None => [want.to_owned(), want.to_owned()],
    });
    step.text = match step.connection.as_str() {
        "" => command.to_owned(),
        name => format!("{name}> {command}"),
    };
    let words = words(command)?;
    step.action = if scan { Action::Scan(words) } else { Action::Command(words) };
    Ok(Parsed::Step(Box::new(step)))
}

/// The first word and what is behind it.
fn cut(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(' ').map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

/// The words of a line.
fn words(line: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut bytes = line.bytes().peekable();
    loop {
        while bytes.next_if_eq(&b' ').is_some() {}
        match bytes.peek() {
            None => return Ok(words),
            Some(quote @ (b'"' | b'\'')) => {
                let quote = *quote;
                bytes.next();
                let word = if quote == b'"' { double_quoted(&mut bytes)? } else { single_quoted(&mut bytes)? };
                if !matches!(bytes.peek(), None | Some(b' ')) {
                    return Err("a quote ends within a word".to_owned());
                }
                words.push(if quote == b'"' { parts(&word) } else { vec![Part::Bytes(word)] });
            }
            Some(_) => {
                let mut word = Vec::new();
                while let Some(byte) = bytes.next_if(|byte| *byte != b' ') {
                    word.push(byte);
                }
                match expand(&word)? {
                    Some(many) => words.extend(many.into_iter().map(|text| vec![Part::Bytes(text)])),
                    None => words.push(parts(&word)),
                }
            }
        }
    }
}

type Bytes<'a> = std::iter::Peekable<std::str::Bytes<'a>>;

fn double_quoted(bytes: &mut Bytes<'_>) -> Result<Vec<u8>, String> {
    let mut word = Vec::new();
    loop {
        match bytes.next().ok_or("a quote is open")? {
            b'"' => return Ok(word),
            b'\\' => word.push(match bytes.next().ok_or("a quote is open")? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'a' => 7,
                b'b' => 8,
                b'x' => {
                    let digits: String = bytes.by_ref().take(2).map(char::from).collect();
                    u8::from_str_radix(&digits, 16).map_err(|_| format!("\\x{digits} is no byte"))?
                }
                other => other,
            }),
            other => word.push(other),
        }
    }
}

fn single_quoted(bytes: &mut Bytes<'_>) -> Result<Vec<u8>, String> {
    let mut word = Vec::new();
    loop {
        match bytes.next().ok_or("a quote is open")? {
            b'\'' => return Ok(word),
            b'\\' if bytes.peek() == Some(&b'\'') => {
                bytes.next();
                word.push(b'\'');
            }
            other => word.push(other),
        }
    }
}

/// A word's bytes with the names of saved values taken out.
fn parts(word: &[u8]) -> Word {
    let mut parts = Vec::new();
    let mut rest = word;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"${") {
        let Some(end) = rest[at..].iter().position(|byte| *byte == b'}') else { break };
        if at > 0 {
            parts.push(Part::Bytes(rest[..at].to_vec()));
        }
        parts.push(Part::Saved(String::from_utf8_lossy(&rest[at + 2..at + end]).into_owned()));
        rest = &rest[at + end + 1..];
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push(Part::Bytes(rest.to_vec()));
    }
    parts
}

/// What `$rep(…)` and its like stand for.
fn expand(word: &[u8]) -> Result<Option<Vec<Vec<u8>>>, String> {
    let text = String::from_utf8_lossy(word);
    let call = text.strip_prefix('$').and_then(|text| text.strip_suffix(')')).and_then(|text| text.split_once('('));
    let Some((name, arguments)) = call else { return Ok(None) };
    let arguments: Vec<&str> = arguments.split(',').collect();
    let number = |at: usize| {
        let number = arguments.get(at).and_then(|text| text.parse::<usize>().ok());
        number.ok_or_else(|| format!("{text}: argument {at} is no number"))
    };
    let text = |text: String| text.into_bytes();
    Ok(Some(match name {
        "rep" => vec![arguments.first().copied().unwrap_or_default().repeat(number(1)?).into_bytes()],
        "seq" => {
            let prefix = arguments.get(2).copied().unwrap_or_default();
            (number(0)?..=number(1)?).map(|at| text(format!("{prefix}{at}"))).collect()
        }
        "pairs" => (number(0)?..=number(1)?).flat_map(|at| [text(format!("f{at}")), text(format!("v{at}"))]).collect(),
        "scores" => (number(0)?..=number(1)?).flat_map(|at| [text(at.to_string()), text(format!("m{at}"))]).collect(),
        other => return Err(format!("no such function: ${other}")),
    }))
}

#[test]
fn words_are_those_of_redis_cli() {
    let bytes = |text: &str| vec![Part::Bytes(text.as_bytes().to_vec())];
    let line = r#"SET "a b\x00\n" 'it\'s' "" x${id}y $seq(1,2,k)"#;
    let id = vec![Part::Bytes(b"x".to_vec()), Part::Saved("id".to_owned()), Part::Bytes(b"y".to_vec())];
    let want = vec![bytes("SET"), bytes("a b\0\n"), bytes("it's"), bytes(""), id, bytes("k1"), bytes("k2")];
    assert_eq!(words(line).unwrap(), want);
    assert!(words("\"open").is_err() && words("\"a\"b").is_err());
}
