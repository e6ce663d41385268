//! Scripts of PostgreSQL's protocol, message by message.
//!
//! ```text
//! # a comment
//! > Parse "" "SELECT $1::int4" 23
//! > Bind "" "" params '7' NULL formats 0 results 1
//! > Execute "" 0
//! > Sync
//! < ParseComplete
//! < …
//! ```
//!
//! Lines with `>` are sent together, in one write; then as many messages as lines with `<` follow are read and compared.
//! At the end nothing more may come. A script begins with its own `> Startup 3.0 user=… database=…`; without one it is
//! started for it, and what the server says to that is not compared.
//!
//! With `PERIGEE_WIRE_UPDATE=1` the expected lines are written anew from what comes, and with `PERIGEE_WIRE_ADDRESS` the
//! server is another one: so a script is compared with PostgreSQL itself.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an update waits for one more message when all that was asked for is answered.
const UPDATE_TIMEOUT: Duration = Duration::from_millis(100);

/// A step of a script: what is sent, then what is expected.
#[derive(Debug, Default)]
struct Step {
    /// Comments and blank lines before it.
    before: Vec<String>,
    sent: Vec<String>,
    expected: Vec<String>,
}

/// Runs a script; gives it back with the messages that came instead of those expected.
///
/// # Errors
/// What cannot be read in the script, and answers that do not come.
pub fn run(server: SocketAddr, script: &str, update: bool) -> Result<String, String> {
    let (steps, end) = read_script(script);
    let mut out = String::new();
    let mut connection = Connection::open(server)?;
    let starts_itself = steps.first().and_then(|s| s.sent.first()).is_some_and(|line| line.starts_with("Startup"));
    if !starts_itself {
        connection.start()?;
    }
    let count = steps.len();
    for (i, step) in steps.into_iter().enumerate() {
        let mut bytes = Vec::new();
        for line in &step.sent {
            if line == "Cancel" {
                connection.stream.write_all(&std::mem::take(&mut bytes)).map_err(|e| e.to_string())?;
                connection.cancel(server)?;
            } else {
                encode(line, &mut bytes)?;
            }
        }
        // The server may have closed the connection already; what it said before that is still read.
        drop(connection.stream.write_all(&bytes));
        for line in step.before {
            out.push_str(&line);
            out.push('\n');
        }
        for line in &step.sent {
            out.push_str(&format!("> {line}\n"));
        }
        let mut read = 0;
        // Each of these is answered by a ReadyForQuery in the end.
        let mut open = step.sent.iter().filter(|line| line.starts_with("Query") || *line == "Sync").count();
        loop {
            if !update && read >= step.expected.len() {
                break;
            }
            let timeout = if update && open == 0 { UPDATE_TIMEOUT } else { ANSWER_TIMEOUT };
            match connection.message(timeout)? {
                Some(message) => {
                    open -= usize::from(open > 0 && message.starts_with("ReadyForQuery"));
                    out.push_str(&format!("< {message}\n"));
                }
                None if update => break,
                None => {
                    out.push_str("< (nothing more)\n");
                    break;
                }
            }
            read += 1;
        }
        if i + 1 == count {
            while let Some(message) = connection.rest()? {
                out.push_str(&format!("< {message}\n"));
            }
        }
    }
    for line in end {
        out.push_str(&line);
        out.push('\n');
    }
    Ok(out)
}

fn read_script(script: &str) -> (Vec<Step>, Vec<String>) {
    let mut steps: Vec<Step> = Vec::new();
    let mut before = Vec::new();
    for line in script.lines() {
        if let Some(sent) = line.strip_prefix("> ") {
            let begins = steps.last().is_none_or(|step| !step.expected.is_empty() || !before.is_empty());
            if begins {
                steps.push(Step { before: std::mem::take(&mut before), ..Step::default() });
            }
            if let Some(step) = steps.last_mut() {
                step.sent.push(sent.to_owned());
            }
        } else if let (Some(expected), Some(step)) = (line.strip_prefix("< "), steps.last_mut()) {
            step.expected.push(expected.to_owned());
        } else {
            before.push(line.to_owned());
        }
    }
    (steps, before)
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    /// Process id and secret.
    key: Vec<u8>,
}

impl Connection {
    fn open(server: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(server).map_err(|e| format!("cannot connect to {server}: {e}"))?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        Ok(Self { stream, input: Vec::new(), key: Vec::new() })
    }

    fn start(&mut self) -> Result<(), String> {
        let mut bytes = Vec::new();
        encode("Startup 3.0 user=postgres database=postgres", &mut bytes)?;
        self.stream.write_all(&bytes).map_err(|e| e.to_string())?;
        loop {
            match self.message(ANSWER_TIMEOUT)? {
                Some(message) if message.starts_with("ReadyForQuery") => return Ok(()),
                Some(message) if message.starts_with("ErrorResponse") => return Err(message),
                Some(_) => {}
                None => return Err("closed during start-up".to_owned()),
            }
        }
    }

    fn cancel(&self, server: SocketAddr) -> Result<(), String> {
        // The statement is on its way; it takes long enough that the request meets it.
        std::thread::sleep(Duration::from_millis(500));
        let mut request = (8 + self.key.len() as u32).to_be_bytes().to_vec();
        request.extend_from_slice(&80_877_102_u32.to_be_bytes());
        request.extend_from_slice(&self.key);
        let mut stream = TcpStream::connect(server).map_err(|e| e.to_string())?;
        stream.write_all(&request).map_err(|e| e.to_string())?;
        drop(stream.read(&mut [0; 1]));
        Ok(())
    }

    /// The next message; `None` where none comes: the connection is closed, or the time is over.
    fn message(&mut self, timeout: Duration) -> Result<Option<String>, String> {
        self.stream.set_read_timeout(Some(timeout)).map_err(|e| e.to_string())?;
        loop {
            if let &[tag, a, b, c, d, ..] = &self.input[..] {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                if length < 4 {
                    return Err(format!("a message of type {} with length {length}", char::from(tag)));
                }
                if self.input.len() > length {
                    let body: Vec<u8> = self.input.drain(..length + 1).skip(5).collect();
                    if tag == b'K' {
                        self.key = body.clone();
                    }
                    return decode(tag, &body).map(Some);
                }
            }
            let mut buffer = [0; 8192];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(_) => return Ok(None),
            }
        }
    }

    /// What comes behind the last step, until the server closes on Terminate.
    fn rest(&mut self) -> Result<Option<String>, String> {
        drop(self.stream.write_all(&[b'X', 0, 0, 0, 4]));
        drop(self.stream.shutdown(std::net::Shutdown::Write));
        self.message(ANSWER_TIMEOUT)
    }
}

/// Words of a line: plain ones, and quoted ones with `\n`, `\\`, `\0` and `\"`.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' => {}
            '"' | '\'' => {
                let mut word = if c == '\'' { String::from("'") } else { String::new() };
                loop {
                    match chars.next() {
                        None => return Err(format!("an open quote: {line}")),
                        Some(end) if end == c => break,
                        Some('\\') => word.push(match chars.next() {
                            Some('n') => '\n',
                            Some('t') => '\t',
                            Some('r') => '\r',
                            Some('0') => '\0',
                            Some(other) => other,
                            None => return Err(format!("an open quote: {line}")),
                        }),
                        Some(other) => word.push(other),
                    }
                }
                words.push(word);
            }
            c => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|c| *c != ' ') {
                    word.push(c);
                }
                words.push(word);
            }
        }
    }
    Ok(words)
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u32> =
        text.chars().map(|c| c.to_digit(16).ok_or(format!("no hex: {text}"))).collect::<Result<_, _>>()?;
    Ok(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte * 16 + *digit as u8)).collect())
}

fn encode(line: &str, out: &mut Vec<u8>) -> Result<(), String> {
    let words = words(line)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let string = |text: &str| [text.as_bytes(), b"\0"].concat();
    let number = |text: &str| text.parse::<i32>().map_err(|_| format!("no number: {text} in {line}"));
    let mut message = |tag: u8, body: &[u8]| {
        out.push(tag);
        out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        out.extend_from_slice(body);
    };
    match words[..] {
        ["Startup", version, ref parameters @ ..] => {
            let (major, minor) = version.split_once('.').ok_or("a version is like 3.0")?;
            let mut body = (number(major)? << 16 | number(minor)?).to_be_bytes().to_vec();
            for parameter in parameters {
                let (name, value) = parameter.split_once('=').ok_or("a parameter is like a=b")?;
                body.extend(string(name));
                body.extend(string(value));
            }
            body.push(0);
            out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
            out.extend(body);
        }
        ["Query", sql] => message(b'Q', &string(sql)),
        ["Parse", name, sql, ref types @ ..] => {
            let mut body = [string(name), string(sql)].concat();
            body.extend((types.len() as u16).to_be_bytes());
            for oid in types {
                body.extend(number(oid)?.to_be_bytes());
            }
            message(b'P', &body);
        }
        ["Bind", portal, statement, ref rest @ ..] => {
            let mut body = [string(portal), string(statement)].concat();
            let (formats, parameters, results) = bind_lists(rest)?;
            for (i, list) in [&formats, &results].into_iter().enumerate() {
                if i == 1 {
                    body.extend((parameters.len() as u16).to_be_bytes());
                    for parameter in &parameters {
                        match parameter {
                            None => body.extend((-1i32).to_be_bytes()),
                            Some(bytes) => {
                                body.extend((bytes.len() as u32).to_be_bytes());
                                body.extend(bytes);
                            }
                        }
                    }
                }
                body.extend((list.len() as u16).to_be_bytes());
                list.iter().for_each(|code| body.extend(code.to_be_bytes()));
            }
            message(b'B', &body);
        }
        ["Describe" | "Close", kind, name] => {
            let tag = words[0].as_bytes()[0];
            message(tag, &[kind.as_bytes(), &string(name)].concat());
        }
        ["Execute", portal, rows_max] => {
            message(b'E', &[string(portal), number(rows_max)?.to_be_bytes().to_vec()].concat());
        }
        ["Flush"] => message(b'H', &[]),
        ["Sync"] => message(b'S', &[]),
        ["Terminate"] => message(b'X', &[]),
        ["CopyData", data] => message(b'd', &data.strip_prefix("x:").map_or(Ok(data.as_bytes().to_vec()), hex)?),
        ["CopyDone"] => message(b'c', &[]),
        ["CopyFail", reason] => message(b'f', &string(reason)),
        // A message as bytes: a tag and the body, or a tag, a length of its own and the body.
        ["Raw", tag, body] => message(tag.as_bytes()[0], &hex(body)?),
        ["RawLength", tag, length, body] => {
            out.push(tag.as_bytes()[0]);
            out.extend_from_slice(&hex(length)?);
            out.extend(hex(body)?);
        }
        _ => return Err(format!("not understood: {line}")),
    }
    Ok(())
}

type Lists = (Vec<i16>, Vec<Option<Vec<u8>>>, Vec<i16>);

/// `params '7' NULL x:00ff formats 0 1 results 1`, each optional.
fn bind_lists(words: &[&str]) -> Result<Lists, String> {
    let (mut formats, mut parameters, mut results) = (Vec::new(), Vec::new(), Vec::new());
    let mut list = "";
    for word in words {
        match (*word, list) {
            ("params" | "formats" | "results", _) => list = word,
            ("NULL", "params") => parameters.push(None),
            (word, "params") => parameters.push(Some(match (word.strip_prefix("x:"), word.strip_prefix('\'')) {
                (Some(digits), _) => hex(digits)?,
                (_, Some(text)) => text.as_bytes().to_vec(),
                _ => return Err(format!("a parameter is 'text', x:hex or NULL, not {word}")),
            })),
            (word, "formats") => formats.push(word.parse().map_err(|_| format!("no format: {word}"))?),
            (word, "results") => results.push(word.parse().map_err(|_| format!("no format: {word}"))?),
            (word, _) => return Err(format!("not understood: {word}")),
        }
    }
    Ok((formats, parameters, results))
}

/// Reads a message of the server.
struct Body<'a>(&'a [u8]);

impl Body<'_> {
    fn take(&mut self, count: usize) -> Result<Vec<u8>, String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("a message is too short")?;
        self.0 = rest;
        Ok(taken.to_vec())
    }

    fn int16(&mut self) -> Result<i16, String> {
        let bytes = self.take(2)?;
        Ok(i16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn int32(&mut self) -> Result<i32, String> {
        let bytes = self.take(4)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn string(&mut self) -> Result<String, String> {
        let end = self.0.iter().position(|b| *b == 0).ok_or("a string has no end")?;
        let text = String::from_utf8_lossy(&self.take(end)?).into_owned();
        self.take(1)?;
        Ok(text)
    }
}

/// Bytes as text where they are such, else as hex.
fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(|c| !c.is_control() || c == '\n' || c == '\t') => {
            format!("'{}'", text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t").replace('\'', "\\'"))
        }
        _ => format!("x:{}", bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()),
    }
}

fn decode(tag: u8, bytes: &[u8]) -> Result<String, String> {
    let mut body = Body(bytes);
    let text = match tag {
        b'1' => "ParseComplete".to_owned(),
        b'2' => "BindComplete".to_owned(),
        b'3' => "CloseComplete".to_owned(),
        b'n' => "NoData".to_owned(),
        b's' => "PortalSuspended".to_owned(),
        b'I' => "EmptyQueryResponse".to_owned(),
        b'c' => "CopyDone".to_owned(),
        b'Z' => format!("ReadyForQuery {}", char::from(*bytes.first().unwrap_or(&b'?'))),
        b'C' => format!("CommandComplete {}", body.string()?),
        b'R' => format!("Authentication {}", body.int32()?),
        b'K' => format!("BackendKeyData {} bytes", bytes.len()),
        b'S' => {
            let (name, value) = (body.string()?, body.string()?);
            // They change with every release.
            let value = if name.ends_with("_version") { "…" } else { &value };
            format!("ParameterStatus {name} {value}")
        }
        b'v' => {
            let version = body.int32()?;
            let options = (0..body.int32()?).map(|_| body.string()).collect::<Result<Vec<_>, _>>()?;
            format!("NegotiateProtocolVersion {}.{} {}", version >> 16, version & 0xffff, options.join(" "))
        }
        b't' => {
            let oids = (0..body.int16()?).map(|_| body.int32().map(|oid| oid.to_string()));
            format!("ParameterDescription {}", oids.collect::<Result<Vec<_>, _>>()?.join(" "))
        }
        b'T' => {
            let mut columns = Vec::new();
            for _ in 0..body.int16()? {
                let name = body.string()?;
                let (_table, _number, oid) = (body.int32()?, body.int16()?, body.int32()?);
                let (length, modifier, format) = (body.int16()?, body.int32()?, body.int16()?);
                columns.push(format!("{name}:{oid}:{length}:{modifier}:{format}"));
            }
            format!("RowDescription {}", columns.join(" "))
        }
        b'D' => {
            let mut values = Vec::new();
            for _ in 0..body.int16()? {
                let length = body.int32()?;
                values.push(match usize::try_from(length) {
                    Ok(length) => shown(&body.take(length)?),
                    Err(_) => "NULL".to_owned(),
                });
            }
            format!("DataRow {}", values.join(" "))
        }
        b'E' | b'N' => {
            let mut fields = std::collections::BTreeMap::new();
            loop {
                let key = body.take(1)?[0];
                if key == 0 {
                    break;
                }
                fields.insert(key, body.string()?);
            }
            let field = |key: u8| fields.get(&key).cloned().unwrap_or_default();
            let mut text = format!("{} {} {}", field(b'S'), field(b'C'), field(b'M'));
            if let Some(context) = fields.get(&b'W') {
                text.push_str(&format!(" [{context}]"));
            }
            format!("{} {}", if tag == b'E' { "ErrorResponse" } else { "NoticeResponse" }, text.replace('\n', "\\n"))
        }
        b'G' | b'H' => {
            let (format, columns) = (body.take(1)?[0], body.int16()?);
            let what = if tag == b'G' { "CopyInResponse" } else { "CopyOutResponse" };
            format!("{what} {format} {columns}")
        }
        b'd' => return Ok(format!("CopyData {}", shown(bytes))),
        other => return Err(format!("a message of an unknown type {:?}", char::from(other))),
    };
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_encoded() {
        let bytes = |line: &str| {
            let mut out = Vec::new();
            encode(line, &mut out).map(|()| out)
        };
        assert_eq!(bytes("Query \"a\\\"b\"").unwrap(), b"Q\0\0\0\x08a\"b\0");
        assert_eq!(
            bytes("Bind \"\" s params '7' NULL x:0a formats 1 results 0 1").unwrap(),
            b"B\0\0\0\x21\0s\0\0\x01\0\x01\0\x03\0\0\0\x017\xff\xff\xff\xff\0\0\0\x01\x0a\0\x02\0\0\0\x01"
        );
        assert!(bytes("Nothing").is_err());
    }

    #[test]
    fn steps_are_told_apart() {
        let (steps, end) = read_script("# one\n> Sync\n< ReadyForQuery I\n> Sync\n> Flush\n\n# two\n> Sync\n# end");
        let counts: Vec<_> = steps.iter().map(|s| (s.before.len(), s.sent.len(), s.expected.len())).collect();
        assert_eq!(counts, [(1, 1, 1), (0, 2, 0), (2, 1, 0)]);
        assert_eq!(end, ["# end"]);
    }
}
