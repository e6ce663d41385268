//! psql's questions over a small catalog.

use crate::exec::tests::Fixture;
use perigee_types::SqlType;

fn fixture() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.table(
        "t",
        &[("id", SqlType::Int4), ("name", SqlType::Varchar(Some(40))), ("price", SqlType::Numeric(Some((10, 2))))],
    );
    fixture
}

#[test]
fn lists_tables() {
    fixture().check(
        "SELECT n.nspname as \"Schema\", c.relname as \"Name\",
           CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'i' THEN 'index' END as \"Type\",
           pg_get_userbyid(c.relowner) as \"Owner\"
         FROM pg_catalog.pg_class c
              LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
         WHERE c.relkind IN ('r','p','')
               AND n.nspname <> 'pg_catalog'
               AND n.nspname !~ '^pg_toast'
               AND n.nspname <> 'information_schema'
           AND pg_table_is_visible(c.oid)
         ORDER BY 1,2",
        &["public|t|table|postgres"],
    );
}

#[test]
fn describes_columns() {
    fixture().check(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod),
           (SELECT pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d
             WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef),
           a.attnotnull,
           (SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t
             WHERE c.oid = a.attcollation AND t.oid = a.atttypid AND a.attcollation <> t.typcollation) AS attcollation,
           a.attidentity, a.attgenerated
         FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = 't'::regclass AND a.attnum > 0 AND NOT a.attisdropped
         ORDER BY a.attnum",
        &["id|integer|NULL|t|NULL||", "name|character varying(40)|NULL|f|NULL||", "price|numeric(10,2)|NULL|f|NULL||"],
    );
}

#[test]
fn describes_indexes() {
    fixture().check(
        "SELECT c2.relname, i.indisprimary, i.indisunique, i.indisvalid,
           pg_get_indexdef(i.indexrelid, 0, true), pg_get_constraintdef(con.oid, true), contype
         FROM pg_catalog.pg_class c, pg_catalog.pg_class c2, pg_catalog.pg_index i
           LEFT JOIN pg_catalog.pg_constraint con
             ON (conrelid = i.indrelid AND conindid = i.indexrelid AND contype IN ('p','u','x'))
         WHERE c.oid = 't'::regclass AND c.oid = i.indrelid AND i.indexrelid = c2.oid
         ORDER BY i.indisprimary DESC, c2.relname",
        &["t_pkey|t|t|t|CREATE UNIQUE INDEX t_pkey ON t USING btree (id)|PRIMARY KEY (id)|p"],
    );
}

#[test]
fn casts_ask_the_catalog() {
    fixture().check_all(&[
        ("'t'::regclass::text", "t"),
        ("'pg_class'::regclass::oid", "1259"),
        ("'nothing'::regclass", "42P01: relation \"nothing\" does not exist"),
        ("'int4'::regtype::text", "integer"),
        ("to_regclass('nothing')", "NULL"),
        ("SELECT atttypid::regtype::text FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum = 1", "integer"),
        ("pg_get_userbyid(10)", "postgres"),
        ("has_table_privilege('t', 'select')", "t"),
        ("current_schemas(true)", "{pg_catalog,public}"),
        ("SELECT count(*) FROM information_schema.columns WHERE table_name = 't'", "3"),
        ("SELECT constraint_name, column_name FROM information_schema.key_column_usage", "t_pkey|id"),
    ]);
}

#[test]
fn every_table_can_be_read() {
    let fixture = fixture();
    for definition in super::definition::all() {
        let sql = format!("SELECT * FROM {}.{}", definition.schema, definition.name);
        if let Err(error) = fixture.run(&sql, &[]) {
            panic!("{sql}: {}", error.message());
        }
    }
}
