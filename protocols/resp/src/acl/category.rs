//! Categories of commands by their names.

use perigee_keyspace::Category;

/// Names of categories.
pub(crate) const NAMES: &[(&str, Category)] = &[
    ("keyspace", Category::KEYSPACE),
    ("read", Category::READ),
    ("write", Category::WRITE),
    ("set", Category::SET),
    ("sortedset", Category::SORTEDSET),
    ("list", Category::LIST),
    ("hash", Category::HASH),
    ("string", Category::STRING),
    ("bitmap", Category::BITMAP),
    ("hyperloglog", Category::HYPERLOGLOG),
    ("geo", Category::GEO),
    ("stream", Category::STREAM),
    ("pubsub", Category::PUBSUB),
    ("admin", Category::ADMIN),
    ("fast", Category::FAST),
    ("slow", Category::SLOW),
    ("blocking", Category::BLOCKING),
    ("dangerous", Category::DANGEROUS),
    ("connection", Category::CONNECTION),
    ("transaction", Category::TRANSACTION),
    ("scripting", Category::SCRIPTING),
    ("timeseries", Category::TIMESERIES),
];

/// The category of a name.
pub(crate) fn of(name: &str) -> Option<Category> {
    NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, category)| *category)
}
