//! A session of PostgreSQL's protocol that shows all that a server answers: column types, command tags, SQLSTATEs and the
//! transaction's state. Drivers hide some of it.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take, behind the session's `statement_timeout`.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// No message of a test is larger.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Request<'a> {
    /// The text; several statements only in the simple protocol.
    pub sql: &'a str,
    /// Parse, Bind, Describe and Execute instead of Query.
    pub extended: bool,
    /// Results in the binary format; extended protocol only.
    pub binary: bool,
    /// Parameters in the text format; extended protocol only.
    pub parameters: &'a [Option<String>],
    /// What a COPY FROM STDIN is given.
    pub copy_data: &'a str,
}

impl<'a> Request<'a> {
    /// A text in the simple protocol.
    #[must_use]
    pub fn simple(sql: &'a str) -> Self {
        Self { sql, extended: false, binary: false, parameters: &[], copy_data: "" }
    }
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The oid of its type.
    pub type_oid: u32,
}

/// A row: NULL is `None`; bytes are the format's, text or binary.
pub type Row = Vec<Option<Vec<u8>>>;

/// What came back for one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A result with columns.
    Rows {
        /// Its columns.
        columns: Vec<Column>,
        /// Its rows.
        rows: Vec<Row>,
        /// The command tag.
        tag: String,
    },
    /// A command tag alone.
    Done(String),
    /// The answer to an empty text.
    Empty,
    /// What COPY TO STDOUT sent, and its tag.
    Copied(Vec<u8>, String),
    /// An error.
    Error {
        /// Five characters.
        sqlstate: String,
        /// The primary message.
        message: String,
    },
    /// The connection broke, or no answer came in time.
    Lost(String),
}

/// All that came back for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// One for each statement.
    pub answers: Vec<Answer>,
    /// Types of the parameters; extended protocol only.
    pub parameters: Vec<u32>,
    /// `I`, `T` or `E`: outside of a transaction, inside, inside of a failed one. A space when the connection is lost.
    pub status: char,
}

/// A session as `postgres`, without a password.
#[derive(Debug)]
pub struct Session {
    stream: BufReader<TcpStream>,
}

struct Message {
    tag: u8,
    body: Vec<u8>,
}

impl Session {
    /// Connects. `settings` go with the start-up.
    ///
    /// # Errors
    /// What the system says, or the server's refusal.
    pub fn connect(server: SocketAddr, database: &str, settings: &[(&str, &str)]) -> io::Result<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut session = Self { stream: BufReader::new(stream) };
        let mut body = (3_u32 << 16).to_be_bytes().to_vec();
        for (name, value) in [("user", "postgres"), ("database", database)].iter().chain(settings) {
            body.extend(zero_ended(name));
            body.extend(zero_ended(value));
        }
        body.push(0);
        let mut bytes = (body.len() as u32 + 4).to_be_bytes().to_vec();
        bytes.extend(body);
        session.stream.get_mut().write_all(&bytes)?;
        loop {
            let message = session.message()?;
            match message.tag {
                b'Z' => return Ok(session),
                b'E' => return Err(io::Error::other(format!("{:?}", error(&message.body)))),
                b'R' if message.body != [0; 4] => return Err(io::Error::other("the server wants a password")),
                _ => {}
            }
        }
    }

    /// Asks, and collects what comes until the server is ready for the next.
    pub fn ask(&mut self, request: &Request<'_>) -> Reply {
        let mut reply = Reply { answers: Vec::new(), parameters: Vec::new(), status: ' ' };
        let mut bytes = Vec::new();
        encode(request, &mut bytes);
        let result = self.stream.get_mut().write_all(&bytes).and_then(|()| self.collect(request, &mut reply));
        if let Err(error) = result {
            reply.answers.push(Answer::Lost(error.to_string()));
            reply.status = ' ';
        }
        reply
    }

    fn collect(&mut self, request: &Request<'_>, reply: &mut Reply) -> io::Result<()> {
        let mut open: Option<(Vec<Column>, Vec<Row>)> = None;
        let mut copied: Option<Vec<u8>> = None;
        loop {
            let Message { tag, body } = self.message()?;
            let mut fields = Fields(&body);
            match tag {
                b'T' => open = Some((columns(&mut fields)?, Vec::new())),
                b'D' => {
                    let row = row(&mut fields)?;
                    open.get_or_insert_with(Default::default).1.push(row);
                }
                b'C' => {
                    let tag = fields.string()?;
                    reply.answers.push(match (open.take(), copied.take()) {
                        (_, Some(data)) => Answer::Copied(data, tag),
                        (Some((columns, rows)), None) => Answer::Rows { columns, rows, tag },
                        (None, None) => Answer::Done(tag),
                    });
                }
                b'I' => reply.answers.push(Answer::Empty),
                b'E' => {
                    (open, copied) = (None, None);
                    reply.answers.push(error(&body));
                }
                b't' => {
                    let count = fields.u16()?;
                    reply.parameters = (0..count).map(|_| fields.u32()).collect::<io::Result<_>>()?;
                }
                b'G' => {
                    let mut bytes = Vec::new();
                    frame(b'd', request.copy_data.as_bytes(), &mut bytes);
                    frame(b'c', &[], &mut bytes);
                    self.stream.get_mut().write_all(&bytes)?;
                }
                b'H' => copied = Some(Vec::new()),
                b'd' => copied.get_or_insert_with(Vec::new).extend(&body),
                b'Z' => {
                    reply.status = body.first().map_or(' ', |status| char::from(*status));
                    return Ok(());
                }
                _ => {}
            }
        }
    }

    fn message(&mut self) -> io::Result<Message> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let [tag, a, b, c, d] = head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if !(4..=MESSAGE_BYTES_MAX).contains(&length) {
            return Err(io::Error::other(format!("a message of type {} with length {length}", char::from(tag))));
        }
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body)?;
        Ok(Message { tag, body })
    }
}

fn encode(request: &Request<'_>, out: &mut Vec<u8>) {
    if !request.extended {
        return frame(b'Q', &zero_ended(request.sql), out);
    }
    let mut parse = zero_ended("");
    parse.extend(zero_ended(request.sql));
    parse.extend([0, 0]);
    frame(b'P', &parse, out);
    frame(b'D', b"S\0", out);
    let mut bind = vec![0, 0, 0, 0];
    bind.extend((request.parameters.len() as u16).to_be_bytes());
    for parameter in request.parameters {
        match parameter {
            None => bind.extend((-1_i32).to_be_bytes()),
            Some(text) => {
                bind.extend((text.len() as u32).to_be_bytes());
                bind.extend(text.as_bytes());
            }
        }
    }
    bind.extend([0, 1, 0, u8::from(request.binary)]);
    frame(b'B', &bind, out);
    frame(b'E', &[0, 0, 0, 0, 0], out);
    frame(b'S', &[], out);
}

fn frame(tag: u8, body: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend((body.len() as u32 + 4).to_be_bytes());
    out.extend(body);
}

fn zero_ended(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

fn error(body: &[u8]) -> Answer {
    let field = |code: u8| {
        let mut found = body.split(|byte| *byte == 0).filter(|field| field.first() == Some(&code));
        found.next().map(|field| String::from_utf8_lossy(&field[1..]).into_owned()).unwrap_or_default()
    };
    Answer::Error { sqlstate: field(b'C'), message: field(b'M') }
}

fn columns(fields: &mut Fields<'_>) -> io::Result<Vec<Column>> {
    let count = fields.u16()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        let name = fields.string()?;
        fields.take(6)?;
        let type_oid = fields.u32()?;
        fields.take(8)?;
        columns.push(Column { name, type_oid });
    }
    Ok(columns)
}

fn row(fields: &mut Fields<'_>) -> io::Result<Row> {
    let count = fields.u16()?;
    let mut row = Vec::new();
    for _ in 0..count {
        let length = fields.u32()?;
        row.push(if length == u32::MAX { None } else { Some(fields.take(length as usize)?.to_vec()) });
    }
    Ok(row)
}

/// The rest of a message's body.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or_else(|| io::Error::other("a short message"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u16(&mut self) -> io::Result<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> io::Result<u32> {
        self.take(4).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn string(&mut self) -> io::Result<String> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or_else(|| io::Error::other("a text without end"))?;
        let text = String::from_utf8_lossy(self.take(end)?).into_owned();
        self.take(1)?;
        Ok(text)
    }
}
