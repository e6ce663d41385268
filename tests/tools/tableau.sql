-- Tableau and psqlODBC: start, catalog, live queries, cursors that are held.

-- rows 0
SET DateStyle = 'ISO';

-- rows 0
SET extra_float_digits = 2;

-- rows 1
SHOW transaction_isolation;

-- rows 1
SELECT oid, typbasetype FROM pg_type WHERE typname = 'lo' UNION ALL SELECT 0, 0;

-- rows 3
SELECT relname, nspname, relkind FROM pg_catalog.pg_class c, pg_catalog.pg_namespace n WHERE relkind IN ('r', 'p') AND nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'pg_temp_1') AND nspname = 'shop' AND n.oid = relnamespace ORDER BY nspname, relname;

-- rows 5
SELECT n.nspname, c.relname, a.attname, a.atttypid, t.typname, a.attnum, a.attlen, a.atttypmod, a.attnotnull, c.relhasrules, c.relkind, c.oid, pg_get_expr(d.adbin, d.adrelid), CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE 0 END, t.typtypmod, 0, attidentity, c.relhassubclass FROM (((pg_catalog.pg_class c INNER JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND c.relname LIKE 'orders' AND n.nspname LIKE 'shop') INNER JOIN pg_catalog.pg_attribute a ON (NOT a.attisdropped) AND a.attnum > 0 AND a.attrelid = c.oid) INNER JOIN pg_catalog.pg_type t ON t.oid = a.atttypid) LEFT OUTER JOIN pg_attrdef d ON a.atthasdef AND d.adrelid = a.attrelid AND d.adnum = a.attnum ORDER BY n.nspname, c.relname, attnum;

-- rows 1
SELECT ta.attname, ia.attnum, ic.relname, n.nspname, tc.relname FROM pg_catalog.pg_attribute ta, pg_catalog.pg_attribute ia, pg_catalog.pg_class tc, pg_catalog.pg_index i, pg_catalog.pg_namespace n, pg_catalog.pg_class ic WHERE tc.relname = 'orders' AND n.nspname = 'shop' AND tc.oid = i.indrelid AND n.oid = tc.relnamespace AND i.indisprimary = 't' AND ia.attrelid = i.indexrelid AND ta.attrelid = i.indrelid AND ta.attnum = i.indkey[ia.attnum - 1] AND (NOT ta.attisdropped) AND (NOT ia.attisdropped) AND ic.oid = i.indexrelid ORDER BY ia.attnum;

-- rows 1
-- shows customer
SELECT 'postgres'::name AS "PKTABLE_CAT", n2.nspname AS "PKTABLE_SCHEM", c2.relname AS "PKTABLE_NAME", a2.attname AS "PKCOLUMN_NAME", 'postgres'::name AS "FKTABLE_CAT", n1.nspname AS "FKTABLE_SCHEM", c1.relname AS "FKTABLE_NAME", a1.attname AS "FKCOLUMN_NAME", i::int2 AS "KEY_SEQ", CASE ref.confupdtype WHEN 'c' THEN 0::int2 WHEN 'n' THEN 2::int2 WHEN 'd' THEN 4::int2 WHEN 'r' THEN 1::int2 ELSE 3::int2 END AS "UPDATE_RULE", CASE ref.confdeltype WHEN 'c' THEN 0::int2 WHEN 'n' THEN 2::int2 WHEN 'd' THEN 4::int2 WHEN 'r' THEN 1::int2 ELSE 3::int2 END AS "DELETE_RULE", ref.conname AS "FK_NAME", cn.conname AS "PK_NAME", CASE WHEN ref.condeferrable THEN CASE WHEN ref.condeferred THEN 5::int2 ELSE 6::int2 END ELSE 7::int2 END AS "DEFERRABLITY" FROM ((((((((SELECT cn.oid, conrelid, conkey, confrelid, confkey, generate_series(array_lower(conkey, 1), array_upper(conkey, 1)) AS i, confupdtype, confdeltype, conname, condeferrable, condeferred FROM pg_catalog.pg_constraint cn, pg_catalog.pg_class c, pg_catalog.pg_namespace n WHERE contype = 'f' AND conrelid = c.oid AND relname = 'orders' AND n.oid = c.relnamespace AND n.nspname = 'shop') ref INNER JOIN pg_catalog.pg_class c1 ON c1.oid = ref.conrelid) INNER JOIN pg_catalog.pg_namespace n1 ON n1.oid = c1.relnamespace) INNER JOIN pg_catalog.pg_attribute a1 ON a1.attrelid = c1.oid AND a1.attnum = conkey[i]) INNER JOIN pg_catalog.pg_class c2 ON c2.oid = ref.confrelid) INNER JOIN pg_catalog.pg_namespace n2 ON n2.oid = c2.relnamespace) INNER JOIN pg_catalog.pg_attribute a2 ON a2.attrelid = c2.oid AND a2.attnum = confkey[i]) LEFT OUTER JOIN pg_catalog.pg_constraint cn ON cn.conrelid = ref.confrelid AND cn.contype = 'p') ORDER BY ref.oid, ref.i;

-- rows 1
SELECT COUNT(1) AS "cnt" FROM (SELECT * FROM "shop"."orders") "Custom SQL Query" HAVING (COUNT(1) > 0);

-- rows 3
SELECT CAST("c"."name" AS TEXT) AS "name", SUM("o"."amount") AS "sum:amount:ok" FROM "shop"."orders" "o" INNER JOIN "shop"."customer" "c" ON ("o"."customer" = "c"."id") GROUP BY 1 ORDER BY 1 ASC NULLS FIRST;

-- rows 3
SELECT "o"."state" AS "state", ((("o"."amount" >= 1) AND ("o"."amount" <= 100)) AND NOT ("o"."amount" IS NULL)) AS "in", DATE_TRUNC('QUARTER', CAST("o"."placed" AS TIMESTAMP WITHOUT TIME ZONE)) AS "tqr:placed:ok" FROM "shop"."orders" "o" GROUP BY 1, 2, 3;

-- rows 0
CREATE LOCAL TEMPORARY TABLE "#Tableau_1_Connect" ("COL" INTEGER) ON COMMIT PRESERVE ROWS;

-- rows 0
INSERT INTO "#Tableau_1_Connect" SELECT 1;

-- rows 1
SELECT "COL" FROM "#Tableau_1_Connect";

-- rows 0
DROP TABLE "#Tableau_1_Connect";

-- rows 0
BEGIN;

-- rows 0
DECLARE "SQL_CUR0x7f8" CURSOR WITH HOLD FOR SELECT id, amount FROM shop.orders ORDER BY id;

-- rows 50
FETCH 50 IN "SQL_CUR0x7f8";

-- rows 0
COMMIT;

-- rows 40
FETCH 50 IN "SQL_CUR0x7f8";

-- rows 0
CLOSE "SQL_CUR0x7f8";
