//! The type that values of several types become where they are one column or one choice: UNION, VALUES, CASE.

use perigee_types::SqlType;
use perigee_types::network::AddressType;

/// The type that values of both become; `None` where there is none.
pub(crate) fn common_type(left: &SqlType, right: &SqlType) -> Option<SqlType> {
    if left == right {
        return Some(left.clone());
    }
    if let (Some(l), Some(r)) = (number_rank(left), number_rank(right)) {
        return Some(match if l >= r { left } else { right } {
            // Each value shows its own places.
            SqlType::Numeric(_) => SqlType::Numeric(None),
            other => other.clone(),
        });
    }
    if let (Some(l), Some(r)) = (time_rank(left), time_rank(right)) {
        return Some(if l >= r { left.without_second_digits() } else { right.without_second_digits() });
    }
    if is_text(left) && is_text(right) {
        return Some(match left {
            SqlType::Varchar(_) => SqlType::Varchar(None),
            _ => SqlType::Text,
        });
    }
    match (left, right) {
        (SqlType::Time(_), SqlType::Time(_)) => Some(SqlType::Time(None)),
        (SqlType::Interval | SqlType::IntervalOf(_), SqlType::Interval | SqlType::IntervalOf(_)) => {
            Some(SqlType::Interval)
        }
        (SqlType::Timetz(_), SqlType::Timetz(_) | SqlType::Time(_)) | (SqlType::Time(_), SqlType::Timetz(_)) => {
            Some(SqlType::Timetz(None))
        }
        (SqlType::Oid, number) | (number, SqlType::Oid) if number.is_integer() => Some(SqlType::Oid),
        (
            SqlType::Oid,
            of @ (SqlType::Regclass | SqlType::Regtype | SqlType::Regproc | SqlType::Regnamespace | SqlType::Regrole),
        )
        | (
            of @ (SqlType::Regclass | SqlType::Regtype | SqlType::Regproc | SqlType::Regnamespace | SqlType::Regrole),
            SqlType::Oid,
        ) => Some(if left == of { of.clone() } else { SqlType::Oid }),
        (SqlType::Vector(_), SqlType::Vector(_)) => Some(SqlType::Vector(None)),
        (SqlType::Coded(l), SqlType::Coded(r)) if l.without_modifier() == r.without_modifier() => {
            Some(SqlType::Coded(l.without_modifier()))
        }
        (
            SqlType::Address(AddressType::Inet | AddressType::Cidr),
            SqlType::Address(AddressType::Inet | AddressType::Cidr),
        ) => Some(SqlType::Address(AddressType::Inet)),
        (SqlType::Array(l), SqlType::Array(r)) if without_modifier(l) == without_modifier(r) => {
            Some(SqlType::Array(Box::new(without_modifier(l))))
        }
        _ => None,
    }
}

/// The type that values of all of these become; `None` where there are none, or none that all become.
///
/// # Errors
/// Two of the types that have none in common, as they are met.
pub(crate) fn common_of<'a>(
    types: impl IntoIterator<Item = &'a SqlType>,
) -> Result<Option<SqlType>, (SqlType, SqlType)> {
    types.into_iter().try_fold(None, |so_far: Option<SqlType>, ty| match so_far {
        None => Ok(Some(ty.clone())),
        Some(so_far) => match common_type(&so_far, ty) {
            Some(common) => Ok(Some(common)),
            None => Err((so_far, ty.clone())),
        },
    })
}

/// The type without a length, a scale or digits of a second: what a parameter of it has, or a value that is not assigned.
pub(crate) fn without_modifier(ty: &SqlType) -> SqlType {
    match ty {
        SqlType::Varchar(_) => SqlType::Varchar(None),
        SqlType::Char(_) => SqlType::Text,
        SqlType::Numeric(_) => SqlType::Numeric(None),
        SqlType::Vector(_) => SqlType::Vector(None),
        SqlType::Array(of) => SqlType::Array(Box::new(without_modifier(of))),
        other => other.without_second_digits(),
    }
}

fn number_rank(ty: &SqlType) -> Option<u8> {
    Some(match ty {
        SqlType::Int2 => 0,
        SqlType::Int4 => 1,
        SqlType::Int8 => 2,
        SqlType::Numeric(_) => 3,
        SqlType::Float4 => 4,
        SqlType::Float8 => 5,
        _ => return None,
    })
}

fn time_rank(ty: &SqlType) -> Option<u8> {
    Some(match ty {
        SqlType::Date => 0,
        SqlType::Timestamp(_) => 1,
        SqlType::Timestamptz(_) => 2,
        _ => return None,
    })
}

fn is_text(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_types_have_in_common() {
        use SqlType::{
            Bool, Char, Date, Float4, Float8, Int2, Int4, Int8, Name, Numeric, Text, Timestamp, Timestamptz, Varchar,
        };
        let cases = [
            ((Int2, Int8), Some(Int8)),
            ((Int4, Numeric(Some((3, 1)))), Some(Numeric(None))),
            ((Numeric(Some((3, 1))), Numeric(Some((3, 1)))), Some(Numeric(Some((3, 1))))),
            ((Numeric(Some((3, 1))), Numeric(Some((4, 2)))), Some(Numeric(None))),
            ((Numeric(None), Float4), Some(Float4)),
            ((Float8, Numeric(Some((3, 1)))), Some(Float8)),
            ((Date, Timestamp(Some(3))), Some(Timestamp(None))),
            ((Timestamptz(None), Timestamp(None)), Some(Timestamptz(None))),
            ((Varchar(Some(3)), Text), Some(Varchar(None))),
            ((Text, Varchar(Some(3))), Some(Text)),
            ((Char(3), Name), Some(Text)),
            ((Int4, Text), None),
            ((Bool, Int4), None),
        ];
        for ((left, right), want) in cases {
            assert_eq!(common_type(&left, &right), want, "{left} and {right}");
        }
        assert_eq!(common_of([]), Ok(None));
        assert_eq!(common_of([&Int2, &Int4, &Text]), Err((Int4, Text)));
    }
}
