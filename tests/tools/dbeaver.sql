-- DBeaver: connection, the tree of objects, a table's details, an edited cell.

-- rows 0
SET extra_float_digits = 3;

-- rows 0
SET application_name = 'DBeaver 24.3.0 - Metadata';

-- rows 1
SELECT current_schema(), session_user;

-- rows 1
SHOW search_path;

-- rows 1
SELECT * FROM pg_catalog.pg_settings WHERE name = 'standard_conforming_strings';

-- rows 1
SELECT string_agg(word, ',') FROM pg_catalog.pg_get_keywords() WHERE word <> ALL ('{a,abs,absolute,action,ada,add,all,allocate,alter,and,any}'::text[]);

-- rows 1
SELECT version();

-- rows 1
SELECT db.oid, db.* FROM pg_catalog.pg_database db WHERE datname = 'postgres';

-- rows some
SELECT db.oid, db.* FROM pg_catalog.pg_database db WHERE NOT datistemplate AND datallowconn ORDER BY db.datname;

-- rows some
SELECT n.oid, n.*, d.description FROM pg_catalog.pg_namespace n LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = n.oid AND d.objsubid = 0 AND d.classoid = 'pg_namespace'::regclass ORDER BY nspname;

-- rows some
SELECT t.oid, t.*, c.relkind, format_type(nullif(t.typbasetype, 0), t.typtypmod) AS base_type_name, d.description FROM pg_catalog.pg_type t LEFT OUTER JOIN pg_catalog.pg_type et ON et.oid = t.typelem LEFT OUTER JOIN pg_catalog.pg_class c ON c.oid = t.typrelid LEFT OUTER JOIN pg_catalog.pg_description d ON t.oid = d.objoid WHERE t.typname IS NOT NULL AND (c.relkind IS NULL OR c.relkind = 'c') AND (et.typcategory IS NULL OR et.typcategory <> 'C');

-- rows 6
-- shows what was ordered
SELECT c.oid, c.*, d.description, pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS partition_expr, pg_catalog.pg_get_partkeydef(c.oid) AS partition_key FROM pg_catalog.pg_class c LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass WHERE c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'shop') AND c.relkind NOT IN ('i', 'I', 'c', 'S') OR c.relname = 'numbers';

-- rows 5
-- shows in francs
SELECT c.relname, a.*, pg_catalog.pg_get_expr(ad.adbin, ad.adrelid, true) AS def_value, dsc.description, dep.objid FROM pg_catalog.pg_attribute a INNER JOIN pg_catalog.pg_class c ON (a.attrelid = c.oid) LEFT OUTER JOIN pg_catalog.pg_attrdef ad ON (a.attrelid = ad.adrelid AND a.attnum = ad.adnum) LEFT OUTER JOIN pg_catalog.pg_description dsc ON (c.oid = dsc.objoid AND a.attnum = dsc.objsubid) LEFT OUTER JOIN pg_depend dep ON dep.refobjid = a.attrelid AND dep.deptype = 'i' AND dep.refobjsubid = a.attnum AND dep.classid = dep.refclassid WHERE NOT a.attisdropped AND c.relkind NOT IN ('i', 'I', 'c') AND c.oid = 'shop.orders'::regclass AND a.attnum > 0 ORDER BY a.attnum;

-- rows 3
SELECT c.oid, c.*, t.relname AS tabrelname, rt.relnamespace AS refnamespace, d.description, CASE WHEN c.contype = 'c' THEN "substring"(pg_get_constraintdef(c.oid), 7) ELSE NULL END consrc_copy FROM pg_catalog.pg_constraint c INNER JOIN pg_catalog.pg_class t ON t.oid = c.conrelid LEFT OUTER JOIN pg_catalog.pg_class rt ON rt.oid = c.confrelid LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_constraint'::regclass WHERE c.conrelid = 'shop.orders'::regclass ORDER BY c.oid;

-- rows 3
SELECT i.*, i.indkey AS keys, c.relname, c.relnamespace, c.relam, c.reltablespace, tc.relname AS tabrelname, dsc.description, pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS pred_expr, pg_catalog.pg_get_expr(i.indexprs, i.indrelid, true) AS expr, pg_catalog.pg_relation_size(i.indexrelid) AS index_rel_size FROM pg_catalog.pg_index i INNER JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid INNER JOIN pg_catalog.pg_class tc ON tc.oid = i.indrelid LEFT OUTER JOIN pg_catalog.pg_description dsc ON i.indexrelid = dsc.objoid WHERE i.indrelid = 'shop.orders'::regclass ORDER BY tabrelname, c.relname;

-- rows some
SELECT c.oid, pg_catalog.pg_total_relation_size(c.oid) AS total_rel_size, pg_catalog.pg_relation_size(c.oid) AS rel_size FROM pg_class c WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'shop');

-- rows 1
-- shows SELECT
SELECT pg_catalog.pg_get_viewdef('shop.spent'::regclass, true);

-- rows 0
SELECT x.oid, x.*, p.relname AS tabrelname, pg_get_triggerdef(x.oid) AS body FROM pg_catalog.pg_trigger x JOIN pg_class p ON p.oid = x.tgrelid WHERE x.tgrelid = 'shop.customer'::regclass AND NOT x.tgisinternal;

-- rows 0
SELECT r.oid, r.*, pg_get_ruledef(r.oid) AS definition FROM pg_catalog.pg_rewrite r WHERE r.ev_class = 'shop.customer'::regclass AND r.rulename <> '_RETURN';

-- rows 1
SELECT p.oid AS poid, p.*, pg_catalog.pg_get_expr(p.proargdefaults, 0) AS arg_defaults, d.description FROM pg_catalog.pg_proc p LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = p.oid WHERE p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'shop') ORDER BY p.proname LIMIT 1;

-- rows some
SELECT a.oid, a.*, pd.description FROM pg_catalog.pg_roles a LEFT JOIN pg_catalog.pg_shdescription pd ON a.oid = pd.objoid ORDER BY a.rolname;

-- rows some
SELECT am.oid, am.*, d.description FROM pg_catalog.pg_am am LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = am.oid ORDER BY am.oid;

-- rows some
SELECT e.oid, e.* FROM pg_catalog.pg_language e;

-- rows 0
SELECT x.oid, x.* FROM pg_catalog.pg_event_trigger x;

-- rows 0
SELECT s.oid, s.* FROM pg_catalog.pg_foreign_server s;

-- rows 0
SELECT pol.oid, pol.polname FROM pg_catalog.pg_policy pol WHERE pol.polrelid = 'shop.orders'::regclass;

-- rows 0
UPDATE shop.customer SET city = 'Basel' WHERE id = 2;

-- rows 1
-- shows Basel
SELECT x.* FROM shop.customer x WHERE city = 'Basel' ORDER BY id LIMIT 200;
