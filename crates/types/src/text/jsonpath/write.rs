//! The canonical text of a path.

use std::fmt::Write;

use super::super::json::write_string;
use super::{Binary, Chain, JsonPath, LEVEL_LAST, Step, Unary};

/// The text that PostgreSQL shows.
pub(super) fn canonical(path: &JsonPath) -> String {
    let mut out = String::new();
    if !path.lax {
        out.push_str("strict ");
    }
    chain(&mut out, &path.root, true);
    out
}

/// How tightly an operator binds.
fn priority(step: &Step) -> u8 {
    match step {
        Step::Binary(op, _) => match op {
            Binary::Or => 0,
            Binary::And => 1,
            Binary::Add | Binary::Subtract => 3,
            Binary::Multiply | Binary::Divide | Binary::Modulo => 4,
            _ => 2,
        },
        Step::LikeRegex(..) => 2,
        Step::Unary(Unary::Plus | Unary::Minus, _) => 5,
        _ => 6,
    }
}

/// Writes a chain. `brackets`: its first step, where it is an operator, stands in parentheses.
fn chain(out: &mut String, steps: &Chain, brackets: bool) {
    for (at, each) in steps.iter().enumerate() {
        step(out, each, at > 0, at + 1 < steps.len(), brackets || at > 0);
    }
}

fn operand(out: &mut String, steps: &Chain, of: &Step) {
    let brackets = steps.first().is_some_and(|first| priority(first) <= priority(of));
    chain(out, steps, brackets);
}

fn step(out: &mut String, step: &Step, in_key: bool, has_next: bool, brackets: bool) {
    let open = |out: &mut String| {
        if brackets {
            out.push('(');
        }
    };
    let close = |out: &mut String| {
        if brackets {
            out.push(')');
        }
    };
    let dot = |out: &mut String| {
        if in_key {
            out.push('.');
        }
    };
    match step {
        Step::Null => out.push_str("null"),
        Step::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Step::Number(number) if has_next => {
            out.push('(');
            out.push_str(number);
            out.push(')');
        }
        Step::Number(number) => out.push_str(number),
        Step::String(text) => write_string(out, text),
        Step::Variable(name) => {
            out.push('$');
            write_string(out, name);
        }
        Step::Root => out.push('$'),
        Step::Current => out.push('@'),
        Step::Last => out.push_str("last"),
        Step::Key(name) => {
            dot(out);
            write_string(out, name);
        }
        Step::AnyKey => {
            dot(out);
            out.push('*');
        }
        Step::AnyElement => out.push_str("[*]"),
        Step::Elements(elements) => {
            out.push('[');
            for (at, (from, to)) in elements.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                chain(out, from, false);
                if let Some(to) = to {
                    out.push_str(" to ");
                    chain(out, to, false);
                }
            }
            out.push(']');
        }
        Step::AnyLevel(first, last) => {
            dot(out);
            levels(out, *first, *last);
        }
        Step::Binary(op, sides) => {
            open(out);
            operand(out, &sides.0, step);
            let _ = write!(out, " {} ", op.symbol());
            operand(out, &sides.1, step);
            close(out);
        }
        Step::LikeRegex(value, pattern) => {
            open(out);
            operand(out, value, step);
            out.push_str(" like_regex ");
            write_string(out, &pattern.text);
            let flags = [
                (pattern.ignore_case, 'i'),
                (pattern.dot_all, 's'),
                (pattern.multi_line, 'm'),
                (pattern.expanded, 'x'),
                (pattern.quoted, 'q'),
            ];
            let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).collect();
            if !flags.is_empty() {
                let _ = write!(out, " flag \"{flags}\"");
            }
            close(out);
        }
        Step::Unary(Unary::Filter, condition) => {
            out.push_str("?(");
            chain(out, condition, false);
            out.push(')');
        }
        Step::Unary(Unary::Not, condition) => {
            out.push_str("!(");
            chain(out, condition, false);
            out.push(')');
        }
        Step::Unary(Unary::IsUnknown, condition) => {
            out.push('(');
            chain(out, condition, false);
            out.push_str(") is unknown");
        }
        Step::Unary(Unary::Exists, value) => {
            out.push_str("exists (");
            chain(out, value, false);
            out.push(')');
        }
        Step::Unary(sign @ (Unary::Plus | Unary::Minus), value) => {
            open(out);
            out.push(if *sign == Unary::Plus { '+' } else { '-' });
            operand(out, value, step);
            close(out);
        }
        Step::Method(method) => {
            let _ = write!(out, ".{}()", method.name());
        }
        Step::Datetime(template) => {
            out.push_str(".datetime(");
            if let Some(template) = template {
                write_string(out, template);
            }
            out.push(')');
        }
    }
}

fn levels(out: &mut String, first: u32, last: u32) {
    let _ = match (first, last) {
        (0, LEVEL_LAST) => write!(out, "**"),
        (LEVEL_LAST, LEVEL_LAST) => write!(out, "**{{last}}"),
        (first, last) if first == last => write!(out, "**{{{first}}}"),
        (LEVEL_LAST, last) => write!(out, "**{{last to {last}}}"),
        (first, LEVEL_LAST) => write!(out, "**{{{first} to last}}"),
        (first, last) => write!(out, "**{{{first} to {last}}}"),
    };
}
