//! to_char of numbers.

use perigee_types::numeric::Numeric;
use perigee_types::{SqlError, SqlResult, SqlState, Value};

use crate::exec::postgres::function::Call;

/// What a template for numbers says.
#[derive(Default)]
struct Template {
    /// Places before the point: whether each must show a digit (0), and separators between them.
    whole: Vec<Place>,
    fraction: Vec<Place>,
    fill: bool,
    point: bool,
    sign: Sign,
    currency: bool,
    ordinal: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// 9
    Digit,
    /// 0
    Zero,
    /// `,` or G
    Group,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Sign {
    /// A blank or a minus before the number.
    #[default]
    Leading,
    /// S before or behind: always a sign.
    SignedBefore,
    SignedBehind,
    /// MI: a minus or a blank behind.
    MinusBehind,
    /// MI in front.
    MinusBefore,
    /// PL
    PlusBefore,
    /// PR: negative numbers in angle brackets.
    Brackets,
}

fn parse(template: &str) -> SqlResult<Template> {
    let upper = template.to_uppercase();
    let mut rest = upper.as_str();
    let mut out = Template { fill: true, ..Template::default() };
    let unsupported = || SqlError::unsupported(format_args!("this template for numbers: \"{template}\""));
    while let Some(first) = rest.chars().next() {
        let places = if out.point { &mut out.fraction } else { &mut out.whole };
        let started = !places.is_empty() || out.point;
        let two = rest.get(..2).unwrap_or_default();
        let taken = match (two, first) {
            ("FM", _) => {
                out.fill = false;
                2
            }
            ("MI", _) => {
                out.sign = if started { Sign::MinusBehind } else { Sign::MinusBefore };
                2
            }
            ("PL", _) => {
                out.sign = Sign::PlusBefore;
                2
            }
            ("SG", _) => {
                out.sign = if started { Sign::SignedBehind } else { Sign::SignedBefore };
                2
            }
            ("PR", _) => {
                out.sign = Sign::Brackets;
                2
            }
            ("TH", _) => {
                out.ordinal = Some(template.contains("TH"));
                2
            }
            ("EE" | "RN", _) => return Err(unsupported()),
            (_, '9') => {
                places.push(Place::Digit);
                1
            }
            (_, '0') => {
                places.push(Place::Zero);
                1
            }
            (_, ',' | 'G') => {
                places.push(Place::Group);
                1
            }
            (_, '.' | 'D') => {
                if out.point {
                    return Err(SqlError::new(SqlState::SyntaxError, "multiple decimal points"));
                }
                out.point = true;
                1
            }
            (_, 'S') => {
                out.sign = if started { Sign::SignedBehind } else { Sign::SignedBefore };
                1
            }
            (_, '$' | 'L') => {
                out.currency = true;
                1
            }
            (_, 'V') => return Err(unsupported()),
            (_, ' ') => 1,
            _ => return Err(unsupported()),
        };
        rest = &rest[taken..];
    }
    Ok(out)
}

/// to_char(number, template)
pub(super) fn to_char(args: &[Value], _: &Call<'_>) -> SqlResult<Value> {
    let template = parse(args[1].as_str().unwrap_or_default())?;
    let places = template.fraction.iter().filter(|p| **p != Place::Group).count();
    let (negative, digits) = digits(&args[0], places)?;
    let (whole, fraction) = digits.split_at(digits.len() - places);
    let room = template.whole.iter().filter(|p| **p != Place::Group).count();
    let whole = whole.trim_start_matches('0');
    let is_zero = digits.bytes().all(|b| b == b'0');
    let negative = negative && !is_zero;
    let mut body = String::new();
    if whole.len() > room {
        // Too large: PostgreSQL fills with #.
        let hashes = |p: &Place| match p {
            Place::Group => ',',
            _ => '#',
        };
        body.extend(template.whole.iter().map(hashes));
        if template.point {
            body.push('.');
            body.extend(template.fraction.iter().map(hashes));
        }
    } else {
        push_whole(&mut body, &template, whole, room);
        if template.point {
            body.push('.');
            push_fraction(&mut body, &template, fraction);
        }
    }
    Ok(Value::Text(signed(&template, body, negative)))
}

/// Whether it is negative, and its digits with so many places behind the point.
fn digits(value: &Value, places: usize) -> SqlResult<(bool, String)> {
    let text = match value {
        Value::Float8(v) => {
            if !v.is_finite() {
                return Err(SqlError::unsupported("to_char of NaN or infinity"));
            }
            format!("{v:.places$}").replace('.', "")
        }
        other => {
            let number = Numeric::of(other).ok_or_else(|| SqlError::internal("to_char of something else"))?;
            if !number.is_finite() {
                return Err(SqlError::unsupported("to_char of NaN or infinity"));
            }
            let text = number.round(i32::try_from(places).unwrap_or(i32::MAX)).to_string().replace('.', "");
            let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
            // A zero before the point is no digit here.
            format!("{sign}{}", digits.trim_start_matches('0'))
        }
    };
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits.to_owned()),
        None => (false, text),
    };
    let width = places + 1;
    Ok((negative, format!("{digits:0>width$}")))
}

fn push_whole(body: &mut String, template: &Template, whole: &str, room: usize) {
    let mut missing = room - whole.len();
    let mut digits = whole.chars();
    let mut begun = false;
    let mut blanks = String::new();
    let any_fraction = template.point && !template.fraction.is_empty();
    for (at, place) in template.whole.iter().enumerate() {
        match place {
            Place::Group if begun => body.push(','),
            Place::Group => blanks.push(' '),
            _ if missing > 0 => {
                missing -= 1;
                let last = template.whole[at + 1..].iter().all(|p| *p == Place::Group);
                if *place == Place::Zero || begun || (last && !any_fraction && whole.is_empty()) {
                    begun = true;
                    body.push('0');
                } else {
                    blanks.push(' ');
                }
            }
            _ => {
                begun = true;
                body.extend(digits.next());
            }
        }
    }
    if template.fill {
        *body = blanks + body;
    }
}

fn push_fraction(body: &mut String, template: &Template, fraction: &str) {
    let mut digits: Vec<(Place, char)> = Vec::new();
    let mut source = fraction.chars();
    for place in &template.fraction {
        if *place != Place::Group {
            digits.extend(source.next().map(|c| (*place, c)));
        }
    }
    if !template.fill {
        while matches!(digits.last(), Some((Place::Digit, '0'))) {
            digits.pop();
        }
    }
    body.extend(digits.into_iter().map(|(_, c)| c));
}

fn signed(template: &Template, body: String, negative: bool) -> String {
    // The sign stands directly before the first digit, behind the blanks.
    let at = body.len() - body.trim_start_matches(' ').len();
    let (blanks, number) = body.split_at(at);
    let number = if template.currency { format!("${number}") } else { number.to_owned() };
    let mut out = match template.sign {
        Sign::Leading if negative => format!("{blanks}-{number}"),
        Sign::Leading if template.fill => format!(" {blanks}{number}"),
        Sign::Leading => number.clone(),
        Sign::SignedBefore => format!("{blanks}{}{number}", if negative { '-' } else { '+' }),
        Sign::SignedBehind => format!("{blanks}{number}{}", if negative { '-' } else { '+' }),
        Sign::MinusBehind if negative => format!("{blanks}{number}-"),
        Sign::MinusBehind if template.fill => format!("{blanks}{number} "),
        Sign::MinusBehind => format!("{blanks}{number}"),
        Sign::MinusBefore if negative => format!("-{blanks}{number}"),
        Sign::MinusBefore if template.fill => format!(" {blanks}{number}"),
        Sign::MinusBefore => format!("{blanks}{number}"),
        Sign::PlusBefore => format!("{}{blanks}{number}", if negative { "-" } else { "+" }),
        Sign::Brackets if negative => format!("{blanks}<{number}>"),
        Sign::Brackets if template.fill => format!(" {blanks}{number} "),
        Sign::Brackets => format!("{blanks}{number}"),
    };
    if let Some(upper) = template.ordinal {
        let suffix = super::ordinal_suffix(&number);
        out.push_str(&if upper { suffix.to_uppercase() } else { suffix.to_owned() });
    }
    out
}
