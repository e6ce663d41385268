//! What a template for dates and times says.

/// How a word is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Upper,
    Title,
    Lower,
}

/// One thing that a template shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Year(u32),
    YearWithComma,
    IsoYear(u32),
    Month,
    MonthName(Case),
    MonthShort(Case),
    MonthRoman(bool),
    Day,
    DayOfYear,
    DayName(Case),
    DayShort(Case),
    Weekday,
    IsoWeekday,
    WeekOfMonth,
    WeekOfYear,
    IsoWeek,
    Quarter,
    Century,
    Julian,
    Hour24,
    Hour12,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Fraction(u32),
    SecondOfDay,
    Meridiem { upper: bool, dots: bool },
    Era { upper: bool, dots: bool },
    ZoneName(bool),
    ZoneHour,
    ZoneMinute,
    ZoneOffset,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Literal(String),
    Field {
        field: Field,
        /// Whether numbers get leading zeros and words blanks: not with FM.
        fill: bool,
        /// TH (true) or th behind it.
        ordinal: Option<bool>,
    },
}

/// Keywords, longer ones before those that they start with. Words differ by case, numbers do not.
const KEYWORDS: &[(&str, Field)] = &[
    ("Y,YYY", Field::YearWithComma),
    ("YYYY", Field::Year(4)),
    ("YYY", Field::Year(3)),
    ("YY", Field::Year(2)),
    ("Y", Field::Year(1)),
    ("IYYY", Field::IsoYear(4)),
    ("IYY", Field::IsoYear(3)),
    ("IY", Field::IsoYear(2)),
    ("IW", Field::IsoWeek),
    ("ID", Field::IsoWeekday),
    ("I", Field::IsoYear(1)),
    ("MONTH", Field::MonthName(Case::Upper)),
    ("MON", Field::MonthShort(Case::Upper)),
    ("MM", Field::Month),
    ("MI", Field::Minute),
    ("MS", Field::Millisecond),
    ("DDD", Field::DayOfYear),
    ("DD", Field::Day),
    ("DAY", Field::DayName(Case::Upper)),
    ("DY", Field::DayShort(Case::Upper)),
    ("D", Field::Weekday),
    ("HH24", Field::Hour24),
    ("HH12", Field::Hour12),
    ("HH", Field::Hour12),
    ("SSSSS", Field::SecondOfDay),
    ("SSSS", Field::SecondOfDay),
    ("SS", Field::Second),
    ("US", Field::Microsecond),
    ("FF1", Field::Fraction(1)),
    ("FF2", Field::Fraction(2)),
    ("FF3", Field::Fraction(3)),
    ("FF4", Field::Fraction(4)),
    ("FF5", Field::Fraction(5)),
    ("FF6", Field::Fraction(6)),
    ("WW", Field::WeekOfYear),
    ("W", Field::WeekOfMonth),
    ("CC", Field::Century),
    ("J", Field::Julian),
    ("Q", Field::Quarter),
    ("RM", Field::MonthRoman(true)),
    ("A.M.", Field::Meridiem { upper: true, dots: true }),
    ("P.M.", Field::Meridiem { upper: true, dots: true }),
    ("AM", Field::Meridiem { upper: true, dots: false }),
    ("PM", Field::Meridiem { upper: true, dots: false }),
    ("A.D.", Field::Era { upper: true, dots: true }),
    ("B.C.", Field::Era { upper: true, dots: true }),
    ("AD", Field::Era { upper: true, dots: false }),
    ("BC", Field::Era { upper: true, dots: false }),
    ("TZH", Field::ZoneHour),
    ("TZM", Field::ZoneMinute),
    ("TZ", Field::ZoneName(true)),
    ("OF", Field::ZoneOffset),
];

/// Reads a template.
pub(super) fn parse(template: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut rest = template;
    let mut fill = true;
    while let Some(first) = rest.chars().next() {
        if let Some(tail) = prefix(rest, "FM") {
            (fill, rest) = (false, tail);
            continue;
        }
        if first == '"' {
            let body = &rest[1..];
            let end = body.find('"').unwrap_or(body.len());
            literal(&mut items, &body[..end]);
            rest = body.get(end + 1..).unwrap_or_default();
            continue;
        }
        let Some((field, tail)) = keyword(rest) else {
            literal(&mut items, &rest[..first.len_utf8()]);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        rest = tail;
        let ordinal = match rest.get(..2) {
            Some("TH") => Some(true),
            Some("th") => Some(false),
            _ => None,
        };
        if ordinal.is_some() {
            rest = &rest[2..];
        }
        items.push(Item::Field { field, fill, ordinal });
        fill = true;
    }
    items
}

fn literal(items: &mut Vec<Item>, text: &str) {
    match items.last_mut() {
        Some(Item::Literal(before)) => before.push_str(text),
        _ => items.push(Item::Literal(text.to_owned())),
    }
}

fn prefix<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let front = text.get(..word.len())?;
    front.eq_ignore_ascii_case(word).then(|| &text[word.len()..])
}

fn keyword(text: &str) -> Option<(Field, &str)> {
    let (word, field, tail) =
        KEYWORDS.iter().find_map(|(word, field)| prefix(text, word).map(|tail| (&text[..word.len()], *field, tail)))?;
    let lower = word.starts_with(|c: char| c.is_ascii_lowercase());
    let case = match (lower, word.chars().nth(1).is_some_and(|c| c.is_ascii_lowercase())) {
        (true, _) => Case::Lower,
        (false, true) => Case::Title,
        (false, false) => Case::Upper,
    };
    let field = match field {
        Field::MonthName(_) => Field::MonthName(case),
        Field::MonthShort(_) => Field::MonthShort(case),
        Field::DayName(_) => Field::DayName(case),
        Field::DayShort(_) => Field::DayShort(case),
        Field::MonthRoman(_) => Field::MonthRoman(!lower),
        Field::ZoneName(_) => Field::ZoneName(!lower),
        Field::Meridiem { dots, .. } => Field::Meridiem { upper: !lower, dots },
        Field::Era { dots, .. } => Field::Era { upper: !lower, dots },
        other => other,
    };
    Some((field, tail))
}
