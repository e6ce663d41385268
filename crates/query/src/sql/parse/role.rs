//! CREATE, ALTER and DROP ROLE; GRANT and REVOKE; DROP OWNED and REASSIGN OWNED.

use perigee_plan::RoleChange;
use perigee_plan::role::{MembershipChange, RoleName, RoleOptions};
use perigee_types::acl::AclKind;
use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};
use sqlparser::tokenizer::Token;

use super::function::function_name;
use super::session::setting_value;
use super::tokens::Tokens;
use crate::sql::statement::{Ast, PrivilegeStatement, PrivilegeTarget};

/// Words that CREATE, ALTER and DROP use for a role.
const KINDS: &[&str] = &["role", "user", "group"];

/// Reads the statement if it is about roles; the cursor stays where it is otherwise.
pub(super) fn parse(tokens: &mut Tokens) -> SqlResult<Option<Ast>> {
    let ast = if accept_kind(tokens, "create") {
        create(tokens)?
    } else if accept_kind(tokens, "alter") {
        alter(tokens)?
    } else if accept_kind(tokens, "drop") {
        let if_exists = tokens.accept_words(&["if", "exists"]);
        Ast::Role(RoleChange::Drop { roles: role_names(tokens)?, if_exists })
    } else if tokens.accept_words(&["drop", "owned", "by"]) {
        let roles = role_names(tokens)?;
        Ast::Role(RoleChange::DropOwned { roles, cascade: cascade(tokens) })
    } else if tokens.accept_words(&["reassign", "owned", "by"]) {
        let roles = role_names(tokens)?;
        tokens.expect_words(&["to"])?;
        Ast::Role(RoleChange::ReassignOwned { roles, to: role_name(tokens)? })
    } else if tokens.accept_words(&["alter", "default", "privileges"]) {
        default_privileges(tokens)?
    } else if tokens.accept_words(&["grant"]) {
        grant(tokens)?
    } else if tokens.accept_words(&["revoke"]) {
        revoke(tokens)?
    } else {
        return Ok(None);
    };
    tokens.expect_end()?;
    Ok(Some(ast))
}

/// `verb ROLE|USER|GROUP`, but not USER MAPPING.
fn accept_kind(tokens: &mut Tokens, verb: &str) -> bool {
    !tokens.peek_words(&[verb, "user", "mapping"]) && KINDS.iter().any(|kind| tokens.accept_words(&[verb, kind]))
}

fn create(tokens: &mut Tokens) -> SqlResult<Ast> {
    // CREATE USER is CREATE ROLE LOGIN.
    let user = tokens.previous_word().as_deref() == Some("user");
    let name = new_name(tokens)?;
    let mut options = options(tokens, true)?;
    if user && options.login.is_none() {
        options.login = Some(true);
    }
    Ok(Ast::Role(RoleChange::Create { name, options }))
}

fn alter(tokens: &mut Tokens) -> SqlResult<Ast> {
    if tokens.accept_words(&["all"]) {
        while tokens.next().is_some() {}
        return Ok(Ast::Unsupported("ALTER ROLE ALL"));
    }
    let role = role_name(tokens)?;
    if tokens.accept_words(&["rename", "to"]) {
        let RoleName::Named(from) = role else { return Err(tokens.error()) };
        return Ok(Ast::Role(RoleChange::Rename { from, to: new_name(tokens)? }));
    }
    if tokens.accept_words(&["in", "database"]) {
        while tokens.next().is_some() {}
        return Ok(Ast::Unsupported("ALTER ROLE … IN DATABASE"));
    }
    for (verb, revoke) in [("add", false), ("drop", true)] {
        if tokens.accept_words(&[verb, "user"]) {
            let members = role_names(tokens)?;
            return Ok(membership(MembershipChange {
                revoke,
                roles: vec![role],
                members,
                admin: None,
                inherit: None,
                set: None,
            }));
        }
    }
    if tokens.accept_words(&["set"]) {
        let (name, value) = setting_value(tokens)?;
        return Ok(Ast::Role(RoleChange::Settings { role, name: Some(name), value }));
    }
    if tokens.accept_words(&["reset"]) {
        let name = if tokens.accept_words(&["all"]) { None } else { Some(tokens.name()?.to_lowercase()) };
        return Ok(Ast::Role(RoleChange::Settings { role, name, value: None }));
    }
    Ok(Ast::Role(RoleChange::Alter { role, options: options(tokens, false)? }))
}

fn options(tokens: &mut Tokens, creating: bool) -> SqlResult<RoleOptions> {
    let mut options = RoleOptions::default();
    tokens.accept_words(&["with"]);
    while !tokens.is_done() {
        if tokens.accept_words(&["connection", "limit"]) {
            let limit = tokens.integer()?;
            if limit < -1 {
                return Err(SqlError::new(
                    SqlState::InvalidParameterValue,
                    format!("invalid connection limit: {limit}"),
                ));
            }
            once(&mut options.connections_max, u32::try_from(limit).ok())?;
        } else if tokens.accept_words(&["valid", "until"]) {
            let text = tokens.string()?;
            let until = match perigee_types::text::parse(&text, &SqlType::Timestamptz(None))? {
                Value::Timestamptz(micros) => Some(micros),
                _ => None,
            };
            once(&mut options.valid_until, until)?;
        } else if tokens.accept_words(&["encrypted", "password"]) || tokens.accept_words(&["password"]) {
            let password = if tokens.accept_words(&["null"]) { None } else { Some(tokens.string()?) };
            once(&mut options.password, password.filter(|text| !text.is_empty()))?;
        } else if creating && (tokens.accept_words(&["in", "role"]) || tokens.accept_words(&["in", "group"])) {
            options.in_roles.extend(role_names(tokens)?);
        } else if creating && tokens.accept_one(&["role", "user"]).is_some() {
            options.members.extend(role_names(tokens)?);
        } else if creating && tokens.accept_words(&["admin"]) {
            options.admins.extend(role_names(tokens)?);
        } else if creating && tokens.accept_words(&["sysid"]) {
            tokens.integer()?;
        } else {
            flag(tokens, &mut options)?;
        }
    }
    Ok(options)
}

fn flag(tokens: &mut Tokens, options: &mut RoleOptions) -> SqlResult<()> {
    let word = tokens.peek_word().unwrap_or_default();
    let (on, name) = match word.strip_prefix("no") {
        Some(name) => (false, name),
        None => (true, word.as_str()),
    };
    let place = match name {
        "superuser" => &mut options.superuser,
        "createdb" => &mut options.create_database,
        "createrole" => &mut options.create_role,
        "inherit" => &mut options.inherit,
        "login" => &mut options.login,
        "replication" => &mut options.replication,
        "bypassrls" => &mut options.bypass_row_security,
        _ => return Err(tokens.error()),
    };
    once(place, on)?;
    tokens.next();
    Ok(())
}

fn once<T>(place: &mut Option<T>, value: T) -> SqlResult<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(SqlError::syntax("conflicting or redundant options")),
    }
}

/// An item of GRANT or REVOKE before it is known whether it is a privilege or a role.
struct Item {
    name: String,
    quoted: bool,
    columns: Vec<String>,
}

fn items(tokens: &mut Tokens) -> SqlResult<Vec<Item>> {
    let mut items = Vec::new();
    loop {
        let ident = tokens.ident()?;
        let name = super::fold(&ident);
        if name == "all" && ident.quote_style.is_none() {
            tokens.accept_words(&["privileges"]);
        }
        let columns = if tokens.peek() == Some(&Token::LParen) { tokens.list(Tokens::name)? } else { Vec::new() };
        items.push(Item { name, quoted: ident.quote_style.is_some(), columns });
        if !tokens.accept(&Token::Comma) {
            return Ok(items);
        }
    }
}

fn grant(tokens: &mut Tokens) -> SqlResult<Ast> {
    let items = items(tokens)?;
    if !tokens.accept_words(&["on"]) {
        tokens.expect_words(&["to"])?;
        let mut change = memberships(items, tokens, false)?;
        if tokens.accept_words(&["with"]) {
            loop {
                let word = tokens.accept_one(&["admin", "inherit", "set"]).ok_or_else(|| tokens.error())?;
                let value = match tokens.accept_one(&["option", "true", "false"]) {
                    Some("false") => false,
                    Some(_) => true,
                    None => return Err(tokens.error()),
                };
                match word {
                    "admin" => change.admin = Some(value),
                    "inherit" => change.inherit = Some(value),
                    _ => change.set = Some(value),
                }
                if !tokens.accept(&Token::Comma) {
                    break;
                }
            }
        }
        granted_by(tokens)?;
        return Ok(membership(change));
    }
    let Some(target) = target(tokens)? else { return rest_unsupported(tokens, "GRANT on this kind of object") };
    tokens.expect_words(&["to"])?;
    let grantees = grantees(tokens)?;
    let option = tokens.accept_words(&["with", "grant", "option"]);
    granted_by(tokens)?;
    privileges(items, PrivilegeStatement { revoke: false, items: Vec::new(), target, grantees, option, cascade: false })
}

fn revoke(tokens: &mut Tokens) -> SqlResult<Ast> {
    let only = ["grant", "admin", "inherit", "set"].into_iter().find(|o| tokens.accept_words(&[o, "option", "for"]));
    let items = items(tokens)?;
    if !tokens.accept_words(&["on"]) {
        tokens.expect_words(&["from"])?;
        let mut change = memberships(items, tokens, true)?;
        match only {
            Some("admin") => change.admin = Some(false),
            Some("inherit") => change.inherit = Some(false),
            Some("set") => change.set = Some(false),
            Some(_) => return Err(tokens.error()),
            None => {}
        }
        granted_by(tokens)?;
        cascade(tokens);
        return Ok(membership(change));
    }
    let Some(target) = target(tokens)? else { return rest_unsupported(tokens, "REVOKE on this kind of object") };
    tokens.expect_words(&["from"])?;
    let grantees = grantees(tokens)?;
    granted_by(tokens)?;
    let cascade = cascade(tokens);
    let option = only.is_some();
    privileges(items, PrivilegeStatement { revoke: true, items: Vec::new(), target, grantees, option, cascade })
}

fn default_privileges(tokens: &mut Tokens) -> SqlResult<Ast> {
    let mut roles = Vec::new();
    let mut schemas = Vec::new();
    loop {
        if tokens.accept_words(&["for", "role"]) || tokens.accept_words(&["for", "user"]) {
            roles = role_names(tokens)?;
        } else if tokens.accept_words(&["in", "schema"]) {
            schemas = names(tokens)?;
        } else {
            break;
        }
    }
    let revoke = match tokens.accept_one(&["grant", "revoke"]) {
        Some(verb) => verb == "revoke",
        None => return Err(tokens.error()),
    };
    let option_only = revoke && tokens.accept_words(&["grant", "option", "for"]);
    let items = items(tokens)?;
    tokens.expect_words(&["on"])?;
    let kind = match tokens.accept_one(&["tables", "sequences", "schemas", "functions", "routines", "types"]) {
        Some("tables") => AclKind::Table,
        Some("sequences") => AclKind::Sequence,
        Some("schemas") => AclKind::Schema,
        Some("functions" | "routines") => AclKind::Function,
        Some(_) => return rest_unsupported(tokens, "ALTER DEFAULT PRIVILEGES for this kind of object"),
        None => return Err(tokens.error()),
    };
    tokens.expect_words(&[if revoke { "from" } else { "to" }])?;
    let grantees = grantees(tokens)?;
    let option = option_only || !revoke && tokens.accept_words(&["with", "grant", "option"]);
    let cascade = revoke && cascade(tokens);
    let target = PrivilegeTarget::New { roles, schemas, kind };
    privileges(items, PrivilegeStatement { revoke, items: Vec::new(), target, grantees, option, cascade })
}

fn privileges(items: Vec<Item>, statement: PrivilegeStatement) -> SqlResult<Ast> {
    let items = items.into_iter().map(|item| (item.name, item.columns)).collect();
    Ok(Ast::Privileges(Box::new(PrivilegeStatement { items, ..statement })))
}

fn memberships(items: Vec<Item>, tokens: &mut Tokens, revoke: bool) -> SqlResult<MembershipChange> {
    let mut roles = Vec::with_capacity(items.len());
    for item in items {
        if !item.columns.is_empty() {
            return Err(tokens.error());
        }
        roles.push(named(item.name, item.quoted)?);
    }
    Ok(MembershipChange { revoke, roles, members: role_names(tokens)?, admin: None, inherit: None, set: None })
}

fn membership(change: MembershipChange) -> Ast {
    Ast::Role(RoleChange::Membership(change))
}

/// What privileges are on; `None` for a kind of object that has none here.
fn target(tokens: &mut Tokens) -> SqlResult<Option<PrivilegeTarget>> {
    for (words, whole) in [
        ("tables", PrivilegeTarget::AllTables as fn(Vec<String>) -> _),
        ("sequences", PrivilegeTarget::AllSequences as fn(Vec<String>) -> _),
        ("functions", PrivilegeTarget::AllFunctions as fn(Vec<String>) -> _),
        ("procedures", PrivilegeTarget::AllProcedures as fn(Vec<String>) -> _),
        ("routines", PrivilegeTarget::AllFunctions as fn(Vec<String>) -> _),
    ] {
        if tokens.accept_words(&["all", words, "in", "schema"]) {
            return Ok(Some(whole(names(tokens)?)));
        }
    }
    if tokens.accept_words(&["sequence"]) {
        return Ok(Some(PrivilegeTarget::Sequences(object_names(tokens)?)));
    }
    if tokens.accept_words(&["schema"]) {
        return Ok(Some(PrivilegeTarget::Schemas(names(tokens)?)));
    }
    if tokens.accept_words(&["database"]) {
        return Ok(Some(PrivilegeTarget::Databases(names(tokens)?)));
    }
    if tokens.accept_one(&["function", "routine"]).is_some() {
        let mut names = vec![function_name(tokens)?];
        while tokens.accept(&Token::Comma) {
            names.push(function_name(tokens)?);
        }
        return Ok(Some(PrivilegeTarget::Functions(names)));
    }
    let others = &["procedure", "type", "domain", "language", "tablespace", "parameter", "large", "foreign"];
    if tokens.accept_one(others).is_some() {
        return Ok(None);
    }
    tokens.accept_words(&["table"]);
    Ok(Some(PrivilegeTarget::Tables(object_names(tokens)?)))
}

fn rest_unsupported(tokens: &mut Tokens, what: &'static str) -> SqlResult<Ast> {
    while tokens.next().is_some() {}
    Ok(Ast::Unsupported(what))
}

fn names(tokens: &mut Tokens) -> SqlResult<Vec<String>> {
    let mut names = vec![tokens.name()?];
    while tokens.accept(&Token::Comma) {
        names.push(tokens.name()?);
    }
    Ok(names)
}

fn object_names(tokens: &mut Tokens) -> SqlResult<Vec<sqlparser::ast::ObjectName>> {
    let mut names = vec![tokens.object_name()?];
    while tokens.accept(&Token::Comma) {
        names.push(tokens.object_name()?);
    }
    Ok(names)
}

/// `GRANTED BY role`: PostgreSQL takes only the role that runs it, and so does the engine, which never looks at it.
fn granted_by(tokens: &mut Tokens) -> SqlResult<()> {
    if tokens.accept_words(&["granted", "by"]) && !matches!(role_name(tokens)?, RoleName::Current) {
        return Err(SqlError::unsupported("GRANTED BY another role than CURRENT_USER"));
    }
    Ok(())
}

fn cascade(tokens: &mut Tokens) -> bool {
    tokens.accept_one(&["cascade", "restrict"]) == Some("cascade")
}

fn grantees(tokens: &mut Tokens) -> SqlResult<Vec<RoleName>> {
    let mut grantees = Vec::new();
    loop {
        tokens.accept_words(&["group"]);
        grantees.push(if tokens.accept_words(&["public"]) { RoleName::Public } else { role_name(tokens)? });
        if !tokens.accept(&Token::Comma) {
            return Ok(grantees);
        }
    }
}

fn role_names(tokens: &mut Tokens) -> SqlResult<Vec<RoleName>> {
    let mut roles = vec![role_name(tokens)?];
    while tokens.accept(&Token::Comma) {
        roles.push(role_name(tokens)?);
    }
    Ok(roles)
}

/// A role that is there.
pub(super) fn role_name(tokens: &mut Tokens) -> SqlResult<RoleName> {
    let ident = tokens.ident()?;
    named(super::fold(&ident), ident.quote_style.is_some())
}

fn named(name: String, quoted: bool) -> SqlResult<RoleName> {
    match name.as_str() {
        "current_user" | "current_role" if !quoted => Ok(RoleName::Current),
        "session_user" if !quoted => Ok(RoleName::Session),
        "public" | "none" => Err(reserved(&name)),
        _ => Ok(RoleName::Named(name)),
    }
}

/// The name of a role that is to be made.
fn new_name(tokens: &mut Tokens) -> SqlResult<String> {
    match role_name(tokens)? {
        RoleName::Named(name) if name.starts_with("pg_") => {
            Err(SqlError::new(SqlState::ReservedName, format!("role name \"{name}\" is reserved"))
                .detail("Role names starting with \"pg_\" are reserved."))
        }
        RoleName::Named(name) => Ok(name),
        _ => Err(SqlError::new(
            SqlState::ReservedName,
            "CURRENT_USER and SESSION_USER cannot be used as a role name here",
        )),
    }
}

fn reserved(name: &str) -> SqlError {
    let state = if name == "none" { SqlState::ReservedName } else { SqlState::UndefinedObject };
    match name {
        "none" => SqlError::new(state, "role name \"none\" is reserved"),
        _ => SqlError::new(state, format!("role \"{name}\" does not exist")),
    }
}
