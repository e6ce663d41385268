//! Random queries over typed tables with NULLs, whose answers are those of PostgreSQL.
//!
//! `PERIGEE_RANDOM_SEED` and `PERIGEE_RANDOM_QUERIES` choose others than the short run's. What is found goes into
//! `sql/random.sql`, as a statement like any other.

use perigee_testkit::postgres::Postgres;
use perigee_testkit::session::{Answer, Request, Session};

use super::compare;

const SEED: u64 = 1;
const QUERIES: usize = 400;
const ROWS: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Int,
    Big,
    Numeric,
    Text,
    Date,
    Bool,
}

/// Columns of every table; `k` and `g` have few values, so that joins and groups meet.
const COLUMNS: [(&str, &str, Type); 8] = [
    ("id", "integer primary key", Type::Int),
    ("k", "integer", Type::Int),
    ("b", "bigint", Type::Big),
    ("n", "numeric(8, 2)", Type::Numeric),
    ("t", "text", Type::Text),
    ("g", "text", Type::Text),
    ("d", "date", Type::Date),
    ("f", "boolean", Type::Bool),
];
const TABLES: [&str; 3] = ["r1", "r2", "r3"];

/// SplitMix64: the same queries for the same seed, everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// A column that an expression may name.
#[derive(Clone)]
struct Column {
    name: String,
    ty: Type,
}

struct Generator {
    random: Random,
    aliases: usize,
}

impl Generator {
    fn literal(&mut self, ty: Type) -> String {
        let random = &mut self.random;
        match ty {
            Type::Int | Type::Big => (random.below(9) as i64 - 2).to_string(),
            Type::Numeric => random.pick(&["0.50", "1.25", "2.00", "-1.75", "10.10"]).to_owned(),
            Type::Text => format!("'{}'", random.pick(&["a", "b", "c", "ab", "B", ""])),
            Type::Date => format!("date '2024-01-{:02}'", 1 + random.below(5)),
            Type::Bool => random.pick(&["true", "false"]).to_owned(),
        }
    }

    fn value(&mut self, ty: Type) -> String {
        if self.random.one_in(5) { "NULL".to_owned() } else { self.literal(ty) }
    }

    fn setup(&mut self) -> String {
        let mut sql = String::new();
        for table in TABLES {
            let columns: Vec<String> = COLUMNS.iter().map(|(name, ty, _)| format!("{name} {ty}")).collect();
            sql.push_str(&format!("CREATE TABLE {table} ({});\n", columns.join(", ")));
            for id in 0..ROWS {
                let values: Vec<String> = COLUMNS[1..].iter().map(|(_, _, ty)| self.value(*ty)).collect();
                sql.push_str(&format!("INSERT INTO {table} VALUES ({id}, {});\n", values.join(", ")));
            }
        }
        sql
    }

    fn column(&mut self, ty: Type, scope: &[Column]) -> Option<String> {
        let fitting: Vec<&Column> = scope.iter().filter(|column| column.ty == ty).collect();
        (!fitting.is_empty()).then(|| fitting[self.random.below(fitting.len())].name.clone())
    }

    fn leaf(&mut self, ty: Type, scope: &[Column]) -> String {
        let column = if self.random.one_in(4) { None } else { self.column(ty, scope) };
        column.unwrap_or_else(|| self.literal(ty))
    }

    fn expression(&mut self, ty: Type, depth: usize, scope: &[Column]) -> String {
        if depth == 0 || self.random.one_in(3) {
            return self.leaf(ty, scope);
        }
        let choice = self.random.below(6);
        if choice == 0 {
            let condition = self.condition(depth - 1, scope);
            let (then, otherwise) = (self.expression(ty, depth - 1, scope), self.expression(ty, depth - 1, scope));
            return format!("CASE WHEN {condition} THEN {then} ELSE {otherwise} END");
        }
        if choice == 1 {
            return format!("coalesce({}, {})", self.leaf(ty, scope), self.expression(ty, depth - 1, scope));
        }
        match ty {
            Type::Int | Type::Big | Type::Numeric => {
                let (left, right) = (self.expression(ty, depth - 1, scope), self.leaf(ty, scope));
                let operator = self.random.pick(&["+", "-", "*"]);
                match choice {
                    2 => format!("abs({left})"),
                    3 if ty == Type::Int => format!("length({})", self.expression(Type::Text, depth - 1, scope)),
                    _ => format!("({left} {operator} {right})"),
                }
            }
            Type::Text => {
                let left = self.expression(ty, depth - 1, scope);
                match choice {
                    2 => format!("upper({left})"),
                    3 => format!("substr({left}, 1, 1)"),
                    4 => format!("({left} || {})", self.leaf(ty, scope)),
                    _ => format!("nullif({left}, {})", self.leaf(ty, scope)),
                }
            }
            Type::Date => format!("({} + {})", self.leaf(ty, scope), self.random.below(4)),
            Type::Bool => self.condition(depth - 1, scope),
        }
    }

    fn any_type(&mut self) -> Type {
        COLUMNS[self.random.below(COLUMNS.len())].2
    }

    /// A condition in parentheses: comparisons do not follow one another.
    fn condition(&mut self, depth: usize, scope: &[Column]) -> String {
        format!("({})", self.bare_condition(depth, scope))
    }

    fn bare_condition(&mut self, depth: usize, scope: &[Column]) -> String {
        let ty = self.any_type();
        let left = self.expression(ty, depth.min(1), scope);
        match self.random.below(if depth == 0 { 6 } else { 12 }) {
            0 => format!("{left} IS NULL"),
            1 => format!("{left} IS NOT NULL"),
            2 => format!("{left} IN ({}, {}, {})", self.literal(ty), self.leaf(ty, scope), self.value(ty)),
            3 => format!("{left} IS DISTINCT FROM {}", self.leaf(ty, scope)),
            4 => {
                let (low, high) = (self.leaf(ty, scope), self.leaf(ty, scope));
                format!("{left} BETWEEN {low} AND {high}")
            }
            5 | 6 => {
                let operator = self.random.pick(&["=", "<>", "<", "<=", ">", ">="]);
                format!("{left} {operator} {}", self.leaf(ty, scope))
            }
            7 => format!("NOT ({})", self.condition(depth - 1, scope)),
            8 => format!("({} AND {})", self.condition(depth - 1, scope), self.condition(depth - 1, scope)),
            9 => format!("({} OR {})", self.condition(depth - 1, scope), self.condition(depth - 1, scope)),
            10 => self.subquery_condition(ty, &left, scope),
            _ => {
                let (a, b) = (self.leaf(Type::Int, scope), self.leaf(Type::Text, scope));
                let (c, d) = (self.leaf(Type::Int, scope), self.leaf(Type::Text, scope));
                format!("({a}, {b}) {} ({c}, {d})", self.random.pick(&["=", "<", ">=", "<>"]))
            }
        }
    }

    /// A condition over another table, which may name the columns around it.
    fn subquery_condition(&mut self, ty: Type, left: &str, scope: &[Column]) -> String {
        let (from, inner) = self.relation();
        let column = self.column(ty, &inner).unwrap_or_else(|| self.literal(ty));
        let condition = match self.random.below(3) {
            0 => "true".to_owned(),
            1 => self.condition(0, &inner),
            _ => {
                let outer = self.leaf(Type::Int, scope);
                format!("{} = {outer}", self.leaf(Type::Int, &inner))
            }
        };
        match self.random.below(4) {
            0 => format!("EXISTS (SELECT 1 FROM {from} WHERE {condition})"),
            1 => format!("{left} NOT IN (SELECT {column} FROM {from} WHERE {condition})"),
            2 if ty != Type::Bool => format!("{left} = (SELECT max({column}) FROM {from} WHERE {condition})"),
            _ => format!("{left} IN (SELECT {column} FROM {from} WHERE {condition})"),
        }
    }

    /// A table under a new name, and its columns.
    fn relation(&mut self) -> (String, Vec<Column>) {
        self.aliases += 1;
        let alias = format!("q{}", self.aliases);
        let table = self.random.pick(&TABLES);
        let columns = COLUMNS.iter().map(|(name, _, ty)| Column { name: format!("{alias}.{name}"), ty: *ty });
        (format!("{table} {alias}"), columns.collect())
    }

    fn from(&mut self) -> (String, Vec<Column>) {
        let (mut from, mut scope) = self.relation();
        for _ in 0..self.random.below(3) {
            let (right, columns) = self.relation();
            let kind = self.random.pick(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
            let ty = if self.random.one_in(3) { Type::Text } else { Type::Int };
            let left_key = self.column(ty, &scope).unwrap_or_default();
            let right_key = self.column(ty, &columns).unwrap_or_default();
            scope.extend(columns);
            // PostgreSQL makes full joins only of conditions that can be merged or hashed.
            let extra = if kind != "FULL JOIN" && self.random.one_in(3) {
                format!(" AND {}", self.condition(0, &scope))
            } else {
                String::new()
            };
            from = format!("{from} {kind} {right} ON {left_key} = {right_key}{extra}");
        }
        if self.random.one_in(4) {
            from = self.lateral(&from, &mut scope);
        }
        (from, scope)
    }

    /// The same with a subquery that names its columns: a row of it for each, or none.
    fn lateral(&mut self, from: &str, scope: &mut Vec<Column>) -> String {
        let (inner, columns) = self.relation();
        let (outer, own) = (self.leaf(Type::Int, scope), self.leaf(Type::Int, &columns));
        let (a, b) = (self.expression(Type::Int, 1, &columns), self.expression(Type::Text, 1, &columns));
        let alias = format!("l{}", self.aliases);
        scope.push(Column { name: format!("{alias}.a"), ty: Type::Int });
        scope.push(Column { name: format!("{alias}.b"), ty: Type::Text });
        let kind = self.random.pick(&["JOIN", "LEFT JOIN"]);
        let aggregate = self.random.one_in(2);
        let (a, b) = if aggregate { (format!("max({a})"), format!("min({b})")) } else { (a, b) };
        format!("{from} {kind} LATERAL (SELECT {a} AS a, {b} AS b FROM {inner} WHERE {own} = {outer}) {alias} ON true")
    }

    /// Two tables by their common columns, which are named without a table.
    fn using(&mut self) -> (String, Vec<Column>) {
        let ((left, mut scope), (right, columns)) = (self.relation(), self.relation());
        let kind = self.random.pick(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        let shared = self.random.pick(&["k", "g", "d"]);
        scope.extend(columns);
        let ty = COLUMNS.iter().find(|(name, ..)| *name == shared).map_or(Type::Int, |(.., ty)| *ty);
        for _ in 0..8 {
            scope.push(Column { name: shared.to_owned(), ty });
        }
        (format!("{left} {kind} {right} USING ({shared})"), scope)
    }

    /// A function over rows, in an order without equals.
    fn window(&mut self, ty: Type, scope: &[Column]) -> String {
        let ids: Vec<&str> = scope.iter().map(|c| c.name.as_str()).filter(|name| name.ends_with(".id")).collect();
        let argument = self.column(ty, scope).unwrap_or_default();
        let partition = scope[self.random.below(scope.len())].name.clone();
        let function = match self.random.below(5) {
            0 => format!("lag({argument})"),
            1 => format!("lead({argument}, 2)"),
            2 => format!("first_value({argument})"),
            3 if ty == Type::Big => "row_number()".to_owned(),
            3 if ty == Type::Int => format!("max({argument})"),
            _ => format!("last_value({argument})"),
        };
        let frame = match self.random.below(3) {
            0 if !function.starts_with("row") => " ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
            _ => "",
        };
        format!("{function} OVER (PARTITION BY {partition} ORDER BY {}{frame})", ids.join(", "))
    }

    fn select(&mut self, types: &[Type]) -> String {
        let (from, scope) = if self.random.one_in(6) { self.using() } else { self.from() };
        let windows = !from.contains("LATERAL") && self.random.one_in(4);
        let filter =
            if self.random.one_in(3) { String::new() } else { format!(" WHERE {}", self.condition(2, &scope)) };
        if !windows && self.random.one_in(3) {
            return self.grouped(types, &from, &filter, &scope);
        }
        let distinct = if self.random.one_in(5) { "DISTINCT " } else { "" };
        let mut items: Vec<String> = types.iter().map(|ty| shown(*ty, self.expression(*ty, 2, &scope))).collect();
        if windows && let (Some(item), Some(ty)) = (items.last_mut(), types.last()) {
            *item = shown(*ty, self.window(*ty, &scope));
        }
        format!("SELECT {distinct}{} FROM {from}{filter}", items.join(", "))
    }

    fn grouped(&mut self, types: &[Type], from: &str, filter: &str, scope: &[Column]) -> String {
        let keys: Vec<Column> =
            (0..1 + self.random.below(2)).map(|_| scope[self.random.below(scope.len())].clone()).collect();
        let items: Vec<String> = types.iter().map(|ty| shown(*ty, self.aggregate(*ty, scope, &keys))).collect();
        let having = match self.random.below(3) {
            0 => format!(" HAVING count(*) > {}", self.random.below(3)),
            1 => format!(" HAVING {}", self.condition(1, &keys)),
            _ => String::new(),
        };
        let by: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
        format!("SELECT {} FROM {from}{filter} GROUP BY {}{having}", items.join(", "), by.join(", "))
    }

    fn aggregate(&mut self, ty: Type, scope: &[Column], keys: &[Column]) -> String {
        if self.random.one_in(3)
            && let Some(key) = self.column(ty, keys)
        {
            return key;
        }
        let argument = self.expression(ty, 1, scope);
        let filter = match self.random.one_in(4) {
            true => format!(" FILTER (WHERE {})", self.condition(0, scope)),
            false => String::new(),
        };
        match ty {
            Type::Int => format!("min({argument}){filter}"),
            Type::Big if self.random.one_in(2) => format!("count({argument}){filter}"),
            Type::Big => {
                let argument = self.expression(Type::Int, 1, scope);
                format!("sum({argument}){filter}")
            }
            Type::Numeric => format!("sum({argument}){filter}"),
            Type::Bool => format!("{}({argument}){filter}", self.random.pick(&["bool_and", "bool_or"])),
            Type::Text | Type::Date => format!("{}({argument}){filter}", self.random.pick(&["min", "max"])),
        }
    }

    fn query(&mut self) -> String {
        self.aliases = 0;
        let types: Vec<Type> = (0..1 + self.random.below(4)).map(|_| self.any_type()).collect();
        let mut sql = self.select(&types);
        if self.random.one_in(5) {
            let operator =
                self.random.pick(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL"]);
            sql = format!("{sql} {operator} {}", self.select(&types));
        }
        if self.random.one_in(2) {
            let places: Vec<String> = (1..=types.len()).map(|place| place.to_string()).collect();
            let direction = self.random.pick(&["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
            sql = format!(
                "{sql} ORDER BY {}",
                places.iter().map(|p| format!("{p}{direction}")).collect::<Vec<_>>().join(", ")
            );
            if self.random.one_in(2) {
                sql = format!("{sql} LIMIT {} OFFSET {}", self.random.below(8), self.random.below(3));
            }
        }
        sql
    }
}

/// A column of the result. How many zeros a numeric shows is for `sql/numbers.sql` to ask.
fn shown(ty: Type, expr: String) -> String {
    if ty == Type::Numeric { format!("round({expr}, 2)") } else { expr }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn random_queries_answer_as_postgresql_does() {
    let seed = setting("PERIGEE_RANDOM_SEED").unwrap_or(SEED);
    let queries = setting("PERIGEE_RANDOM_QUERIES").map_or(QUERIES, |count| count as usize);
    let postgres = Postgres::start().expect("PostgreSQL 15 starts");
    let server = perigee_tests::server();
    let mut wanted = Session::connect(postgres.address(), "postgres", &[]).expect("a session");
    let mut got = Session::connect(server.pg(), "postgres", &[]).expect("a session");
    let found = differences(seed, queries, &mut wanted, &mut got);
    assert!(found.is_empty(), "seed {seed}: {} of {queries} queries differ\n\n{}", found.len(), found.join("\n\n"));
}

/// The queries whose answers differ, with what differs.
fn differences(seed: u64, queries: usize, wanted: &mut Session, got: &mut Session) -> Vec<String> {
    let mut generator = Generator { random: Random(seed), aliases: 0 };
    let setup = generator.setup();
    for session in [&mut *wanted, &mut *got] {
        let reply = session.ask(&Request { sql: &setup, ..Request::default() });
        assert!(reply.answers.iter().all(|answer| matches!(answer, Answer::Done(_))), "{setup}\n{reply:?}");
    }
    let mut found = Vec::new();
    for _ in 0..queries {
        let sql = generator.query();
        let request = Request { sql: &sql, ..Request::default() };
        let (wanted, got) = (wanted.ask(&request), got.ask(&request));
        if let Some(difference) = compare::difference(&sql, &wanted, &got) {
            found.push(format!("{sql};\n    {difference}"));
        }
    }
    found
}
