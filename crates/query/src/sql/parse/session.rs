//! SET, SHOW, RESET, DISCARD, LISTEN, NOTIFY, PREPARE, EXECUTE, DEALLOCATE.

use perigee_plan::command::Discard;
use perigee_plan::{SessionCommand, TransactionCommand};
use perigee_types::{IntervalFields, IntervalType, SqlError, SqlResult, SqlState};
use sqlparser::tokenizer::Token;

use super::tokens::{Tokens, word_of};
use super::transaction::modes;
use crate::sql::statement::Ast;

/// How far a zone may be from UTC: as far as one that is named by its offset.
const ZONE_SECONDS_MAX: i64 = 15 * 3600 + 3599;

pub(super) fn parse(tokens: &mut Tokens) -> SqlResult<Ast> {
    let ast = match tokens.next().and_then(word_of).as_deref() {
        Some("set") => set(tokens)?,
        Some("show") => Ast::Session(show(tokens)?),
        Some("reset") => Ast::Session(reset(tokens)?),
        Some("discard") => Ast::Session(SessionCommand::Discard(discard(tokens)?)),
        Some("unlisten") => {
            let channel = if tokens.accept(&Token::Mul) { None } else { Some(tokens.name()?) };
            Ast::Session(SessionCommand::Unlisten(channel))
        }
        Some("listen") => Ast::Session(SessionCommand::Listen(tokens.name()?)),
        Some("notify") => {
            let channel = tokens.name()?;
            let payload = if tokens.accept(&Token::Comma) { tokens.string()? } else { String::new() };
            Ast::Session(SessionCommand::Notify { channel, payload })
        }
        Some("deallocate") => Ast::Session(deallocate(tokens)?),
        _ => execute(tokens)?,
    };
    tokens.expect_end()?;
    Ok(ast)
}

fn set(tokens: &mut Tokens) -> SqlResult<Ast> {
    if tokens.accept_words(&["session", "characteristics", "as", "transaction"]) {
        return Ok(Ast::Transaction(TransactionCommand::SetDefault(modes(tokens)?)));
    }
    if tokens.accept_words(&["transaction"]) {
        if tokens.accept_words(&["snapshot"]) {
            return Ok(Ast::Transaction(TransactionCommand::SetSnapshot(tokens.string()?)));
        }
        return Ok(Ast::Transaction(TransactionCommand::Set(modes(tokens)?)));
    }
    if tokens.accept_words(&["constraints"]) {
        return constraints(tokens);
    }
    if tokens.accept_words(&["session", "authorization"]) {
        let value = value_or_default(tokens)?;
        return Ok(setting("session_authorization".to_owned(), value, false));
    }
    let local = tokens.accept_words(&["local"]);
    if !local {
        tokens.accept_words(&["session"]);
    }
    let (name, value) = if tokens.accept_words(&["time", "zone"]) {
        let value = if tokens.accept_words(&["local"]) {
            None
        } else if tokens.accept_words(&["interval"]) {
            Some(zone_of_interval(tokens)?)
        } else {
            value_or_default(tokens)?
        };
        ("timezone".to_owned(), value)
    } else if tokens.accept_words(&["names"]) {
        ("client_encoding".to_owned(), if tokens.is_done() { None } else { value_or_default(tokens)? })
    } else if tokens.accept_words(&["schema"]) {
        ("search_path".to_owned(), Some(quoted(&tokens.string()?)))
    } else if tokens.accept_words(&["role"]) {
        let value = if tokens.accept_words(&["none"]) { Some("none".to_owned()) } else { value_or_default(tokens)? };
        ("role".to_owned(), value)
    } else {
        setting_value(tokens)?
    };
    Ok(setting(name, value, local))
}

/// `'+05:30' HOUR TO MINUTE`: how far clocks are east of UTC, as the POSIX zone that PostgreSQL makes of it.
fn zone_of_interval(tokens: &mut Tokens) -> SqlResult<String> {
    let written = tokens.string()?;
    let named = |fields: &&IntervalFields| tokens.peek_words(&fields.words().split(' ').collect::<Vec<_>>());
    let fields = IntervalFields::ALL.iter().find(named).copied();
    for _ in fields.iter().flat_map(|fields| fields.words().split(' ')) {
        tokens.next();
    }
    let offset = IntervalType { fields, digits: None }.parse(&written)?;
    let invalid = || {
        let message = format!("invalid value for parameter \"TimeZone\": \"INTERVAL '{written}'\"");
        SqlError::new(SqlState::InvalidParameterValue, message)
    };
    match (offset.months, offset.days) {
        (0, 0) => {}
        (0, _) => return Err(invalid().detail("Cannot specify days in time zone interval.")),
        _ => return Err(invalid().detail("Cannot specify months in time zone interval.")),
    }
    let seconds = offset.micros / 1_000_000;
    if seconds.abs() > ZONE_SECONDS_MAX {
        return Err(invalid());
    }
    let (hours, minutes, rest) = (seconds.abs() / 3600, seconds.abs() / 60 % 60, seconds.abs() % 60);
    let clock = match (minutes, rest) {
        (0, 0) => format!("{hours:02}"),
        (_, 0) => format!("{hours:02}:{minutes:02}"),
        _ => format!("{hours:02}:{minutes:02}:{rest:02}"),
    };
    let (east, west) = if seconds < 0 { ('-', '+') } else { ('+', '-') };
    Ok(format!("<{east}{clock}>{west}{clock}"))
}

/// `{ ALL | name, … } { DEFERRED | IMMEDIATE }`
fn constraints(tokens: &mut Tokens) -> SqlResult<Ast> {
    let names = if tokens.accept_words(&["all"]) {
        None
    } else {
        let mut names = vec![tokens.object_name()?];
        while tokens.accept(&Token::Comma) {
            names.push(tokens.object_name()?);
        }
        Some(names)
    };
    let deferred = tokens.accept_words(&["deferred"]);
    if !deferred {
        tokens.expect_words(&["immediate"])?;
    }
    Ok(Ast::SetConstraints { names, deferred })
}

/// `name { TO | = } value`, or DEFAULT, which is no value.
pub(super) fn setting_value(tokens: &mut Tokens) -> SqlResult<(String, Option<String>)> {
    let name = setting_name(tokens)?;
    if !tokens.accept(&Token::Eq) {
        tokens.expect_words(&["to"])?;
    }
    let value = values(tokens, name == "search_path")?;
    Ok((name, value))
}

fn setting(name: String, value: Option<String>, local: bool) -> Ast {
    Ast::Session(SessionCommand::Set { name, value, local })
}

/// `name` or `prefix.name`, in lower case: settings do not tell case apart.
fn setting_name(tokens: &mut Tokens) -> SqlResult<String> {
    let mut name = tokens.name()?.to_lowercase();
    while tokens.accept(&Token::Period) {
        name.push('.');
        name.push_str(&tokens.name()?.to_lowercase());
    }
    Ok(name)
}

fn value_or_default(tokens: &mut Tokens) -> SqlResult<Option<String>> {
    if tokens.accept_words(&["default"]) { Ok(None) } else { value(tokens).map(Some) }
}

/// A comma-separated list as one text. `names`: each is a name and is quoted where it must be.
fn values(tokens: &mut Tokens, names: bool) -> SqlResult<Option<String>> {
    if tokens.accept_words(&["default"]) {
        return Ok(None);
    }
    let mut list = Vec::new();
    loop {
        let value = value(tokens)?;
        list.push(if names { quoted(&value) } else { value });
        if !tokens.accept(&Token::Comma) {
            return Ok(Some(list.join(", ")));
        }
    }
}

fn value(tokens: &mut Tokens) -> SqlResult<String> {
    let sign = if tokens.accept(&Token::Minus) {
        "-"
    } else {
        tokens.accept(&Token::Plus);
        ""
    };
    if let Some(Token::Number(number, _)) = tokens.peek() {
        tokens.next();
        return Ok(format!("{sign}{number}"));
    }
    if !sign.is_empty() {
        return Err(tokens.error());
    }
    if matches!(tokens.peek(), Some(Token::Word(_))) { tokens.name() } else { tokens.string() }
}

/// A name as it must be written: in quotes unless it is a plain lower-case word.
fn quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '$');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Settings that have names of several words.
fn spoken_name(tokens: &mut Tokens) -> Option<&'static str> {
    const SPOKEN: &[(&[&str], &str)] = &[
        (&["time", "zone"], "timezone"),
        (&["transaction", "isolation", "level"], "transaction_isolation"),
        (&["session", "authorization"], "session_authorization"),
    ];
    SPOKEN.iter().find(|(words, _)| tokens.accept_words(words)).map(|(_, name)| *name)
}

fn show(tokens: &mut Tokens) -> SqlResult<SessionCommand> {
    if tokens.accept_words(&["all"]) {
        return Ok(SessionCommand::ShowAll);
    }
    Ok(SessionCommand::Show(match spoken_name(tokens) {
        Some(name) => name.to_owned(),
        None => setting_name(tokens)?,
    }))
}

fn reset(tokens: &mut Tokens) -> SqlResult<SessionCommand> {
    if tokens.accept_words(&["all"]) {
        return Ok(SessionCommand::Reset(None));
    }
    Ok(SessionCommand::Reset(Some(match spoken_name(tokens) {
        Some(name) => name.to_owned(),
        None => setting_name(tokens)?,
    })))
}

fn discard(tokens: &mut Tokens) -> SqlResult<Discard> {
    match tokens.accept_one(&["all", "plans", "sequences", "temp", "temporary"]) {
        Some("all") => Ok(Discard::All),
        Some("plans") => Ok(Discard::Plans),
        Some("sequences") => Ok(Discard::Sequences),
        Some(_) => Ok(Discard::Temp),
        None => Err(tokens.error()),
    }
}

fn deallocate(tokens: &mut Tokens) -> SqlResult<SessionCommand> {
    tokens.accept_words(&["prepare"]);
    if tokens.accept_words(&["all"]) {
        return Ok(SessionCommand::Deallocate(None));
    }
    Ok(SessionCommand::Deallocate(Some(tokens.name()?)))
}

fn execute(tokens: &mut Tokens) -> SqlResult<Ast> {
    let name = tokens.name()?;
    let parameters = if tokens.accept(&Token::LParen) {
        let inner = tokens.until_closed()?;
        tokens.expressions(inner)?
    } else {
        Vec::new()
    };
    Ok(Ast::Execute { name, parameters })
}

/// `PREPARE name [ ( type, … ) ] AS statement`
pub(super) fn prepare(tokens: &mut Tokens) -> SqlResult<Ast> {
    tokens.next();
    if tokens.accept_words(&["transaction"]) {
        tokens.string()?;
        tokens.expect_end()?;
        // As PostgreSQL says it where max_prepared_transactions is 0, which is its default.
        let error = SqlError::new(SqlState::ObjectNotInPrerequisiteState, "prepared transactions are disabled")
            .hint("Set max_prepared_transactions to a nonzero value.");
        return Ok(Ast::Refused(error));
    }
    let name = tokens.name()?;
    let parameters = if tokens.accept(&Token::LParen) {
        let inner = tokens.until_closed()?;
        tokens.types(inner)?
    } else {
        Vec::new()
    };
    tokens.expect_words(&["as"])?;
    let statement = Box::new(tokens.rest_statement()?);
    Ok(Ast::Prepare { name, parameters, statement })
}
