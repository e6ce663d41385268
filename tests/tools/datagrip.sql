-- DataGrip and other IDEs of JetBrains: the levels of introspection.

-- rows 1
SELECT current_database() AS a, current_schemas(false) AS b, pg_is_in_recovery();

-- rows 1
SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN null ELSE (pg_catalog.txid_current() % 4294967296)::varchar::bigint END AS current_txid;

-- rows 1
SELECT round(extract(epoch from pg_postmaster_start_time() at time zone 'UTC')) AS startup_time;

-- rows 1
SELECT L.transactionid::varchar::bigint AS transaction_id FROM pg_catalog.pg_locks L WHERE L.transactionid IS NOT NULL UNION ALL SELECT 1 LIMIT 1;

-- rows some
SELECT N.oid::bigint AS id, datname AS name, D.description, datistemplate AS is_template, datallowconn AS allow_connections, pg_catalog.pg_get_userbyid(N.datdba) AS "owner" FROM pg_catalog.pg_database N LEFT JOIN pg_catalog.pg_shdescription D ON N.oid = D.objoid ORDER BY CASE WHEN datname = pg_catalog.current_database() THEN -1::bigint ELSE N.oid::bigint END;

-- rows some
SELECT N.oid::bigint AS id, N.xmin AS state_number, nspname AS name, D.description, pg_catalog.pg_get_userbyid(N.nspowner) AS "owner" FROM pg_catalog.pg_namespace N LEFT JOIN pg_catalog.pg_description D ON N.oid = D.objoid ORDER BY CASE WHEN nspname = pg_catalog.current_schema() THEN -1::bigint ELSE N.oid::bigint END;

-- rows some
SELECT R.oid::bigint AS role_id, rolname AS role_name, rolsuper AS is_super, rolinherit AS is_inherit, rolcreaterole AS can_createrole, rolcreatedb AS can_createdb, rolcanlogin AS can_login, rolreplication AS is_replication, rolconnlimit AS conn_limit, rolvaliduntil AS valid_until, rolbypassrls AS bypass_rls, rolconfig AS config, D.description FROM pg_catalog.pg_roles R LEFT JOIN pg_catalog.pg_shdescription D ON D.objoid = R.oid;

-- rows some
SELECT member id, roleid role_id, admin_option FROM pg_catalog.pg_auth_members UNION ALL SELECT 0, 0, false ORDER BY id, role_id;

-- rows some
SELECT T.oid::bigint AS id, T.spcname AS name, T.xmin AS state_number, pg_catalog.pg_get_userbyid(T.spcowner) AS owner, pg_catalog.pg_tablespace_location(T.oid) AS location, T.spcoptions AS options, D.description AS comment FROM pg_catalog.pg_tablespace T LEFT JOIN pg_catalog.pg_shdescription D ON D.objoid = T.oid;

-- rows 1
SELECT cls.xmin AS sequence_state_number, sq.seqrelid::bigint AS sequence_id, cls.relname AS sequence_name, pg_catalog.format_type(sq.seqtypid, null) AS data_type, sq.seqstart AS next_value, sq.seqincrement AS inc_value, sq.seqmin AS min_value, sq.seqmax AS max_value, sq.seqcache AS cache_size, sq.seqcycle AS cycle_option, pg_catalog.pg_get_userbyid(cls.relowner) AS "owner" FROM pg_catalog.pg_sequence sq JOIN pg_class cls ON sq.seqrelid = cls.oid WHERE cls.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'shop') AND cls.relname = 'numbers';

-- rows some
SELECT T.oid AS type_id, T.xmin AS type_state_number, T.typname AS type_name, T.typtype AS type_sub_kind, T.typcategory AS type_category, T.typrelid AS class_id, T.typbasetype AS base_type_id, CASE WHEN T.typtype IN ('c', 'e') THEN null ELSE pg_catalog.format_type(T.typbasetype, T.typtypmod) END AS type_def, T.typndims AS dimensions_number, T.typdefault AS default_expression, T.typnotnull AS mandatory, pg_catalog.pg_get_userbyid(T.typowner) AS "owner" FROM pg_catalog.pg_type T LEFT OUTER JOIN pg_catalog.pg_class C ON T.typrelid = C.oid WHERE T.typnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'shop') AND (T.typtype IN ('d', 'e') OR C.relkind = 'c'::"char" OR (T.typtype = 'b' AND (T.typelem = 0 OR T.typcategory <> 'A')) OR T.typtype = 'p' AND NOT T.typisdefined) ORDER BY 1;

-- rows 5
SELECT T.relkind AS table_kind, T.relname AS table_name, T.oid AS table_id, T.xmin AS table_state_number, false AS table_with_oids, T.reltablespace AS tablespace_id, T.reloptions AS options, T.relpersistence AS persistence, (SELECT pg_catalog.array_agg(inhparent::bigint ORDER BY inhseqno)::varchar FROM pg_catalog.pg_inherits WHERE T.oid = inhrelid) AS ancestors, (SELECT pg_catalog.array_agg(inhrelid::bigint ORDER BY inhrelid)::varchar FROM pg_catalog.pg_inherits WHERE T.oid = inhparent) AS successors, T.relispartition AS is_partition, pg_catalog.pg_get_partkeydef(T.oid) AS partition_key, pg_catalog.pg_get_expr(T.relpartbound, T.oid) AS partition_expression, T.relam am_id, pg_catalog.pg_get_userbyid(T.relowner) AS "owner" FROM pg_catalog.pg_class T WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'shop') AND relkind IN ('r', 'm', 'v', 'f', 'p') ORDER BY table_kind, table_id;

-- rows 15
WITH T AS (SELECT DISTINCT T.oid AS table_id, T.relname AS table_name FROM pg_catalog.pg_class T, pg_catalog.pg_attribute A WHERE T.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'shop') AND T.relkind IN ('r', 'm', 'v', 'f', 'p') AND A.attrelid = T.oid) SELECT T.table_id, C.attnum AS column_position, C.attname AS column_name, C.xmin AS column_state_number, C.atttypmod AS type_mod, C.attndims AS dimensions_number, pg_catalog.format_type(C.atttypid, C.atttypmod) AS type_spec, C.atttypid AS type_id, C.attnotnull AS mandatory, pg_catalog.pg_get_expr(D.adbin, T.table_id) AS column_default_expression, NOT C.attislocal AS column_is_inherited, C.attfdwoptions AS options, C.attisdropped AS column_is_dropped, C.attidentity AS identity_kind, C.attgenerated AS generated FROM T JOIN pg_catalog.pg_attribute C ON T.table_id = C.attrelid LEFT OUTER JOIN pg_catalog.pg_attrdef D ON (C.attrelid, C.attnum) = (D.adrelid, D.adnum) WHERE attnum > 0 ORDER BY table_id, attnum;

-- rows 4
SELECT tab.oid AS table_id, tab.relkind AS table_kind, ind_stor.relname AS index_name, ind_head.indexrelid AS index_id, ind_stor.xmin AS state_number, ind_head.indisunique AS is_unique, ind_head.indisprimary AS is_primary, pg_catalog.pg_get_expr(ind_head.indpred, ind_head.indrelid) AS condition, (SELECT pg_catalog.array_agg(inhparent::bigint ORDER BY inhseqno)::varchar FROM pg_catalog.pg_inherits WHERE ind_stor.oid = inhrelid) AS ancestors, ind_stor.reltablespace AS tablespace_id, opcmethod AS access_method_id FROM pg_catalog.pg_class tab JOIN pg_catalog.pg_index ind_head ON ind_head.indrelid = tab.oid JOIN pg_catalog.pg_class ind_stor ON tab.relnamespace = ind_stor.relnamespace AND ind_stor.oid = ind_head.indexrelid LEFT JOIN pg_catalog.pg_opclass ON pg_opclass.oid = ANY(indclass) WHERE tab.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'shop') AND tab.relkind IN ('r', 'm', 'v', 'p') AND ind_stor.relkind IN ('i', 'I') AND ind_head.indnatts = 1 UNION SELECT NULL, NULL, 'none', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL ORDER BY index_name;

-- rows 5
SELECT T.oid table_id, relkind table_kind, C.oid::bigint con_id, C.xmin con_state_id, conname con_name, contype con_kind, conkey con_columns, conindid index_id, confrelid ref_table_id, condeferrable is_deferrable, condeferred is_init_deferred, confupdtype on_update, confdeltype on_delete, connoinherit no_inherit, pg_catalog.pg_get_expr(conbin, T.oid) con_expression, confkey ref_columns, conexclop::int[] excl_operators FROM pg_catalog.pg_constraint C JOIN pg_catalog.pg_class T ON C.conrelid = T.oid WHERE relkind IN ('r', 'v', 'f', 'p') AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'shop') AND contype IN ('p', 'u', 'f', 'c', 'x') AND connamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'shop') ORDER BY con_id;

-- rows 1
WITH languages AS (SELECT oid AS lang_oid, lanname AS lang FROM pg_catalog.pg_language), routines AS (SELECT proname AS r_name, prolang AS lang_oid, oid AS r_id, xmin AS r_state_number, proargnames AS arg_names, proargmodes AS arg_modes, proargtypes::int[] AS in_arg_types, proallargtypes::int[] AS all_arg_types, pg_catalog.pg_get_expr(proargdefaults, 0) AS arg_defaults, provariadic AS arg_variadic_id, prorettype AS ret_type_id, proretset AS ret_set, prokind AS kind, provolatile AS volatile_kind, proisstrict AS is_strict, prosecdef AS is_security_definer, proconfig AS configuration_parameters, procost AS cost, pg_catalog.pg_get_userbyid(proowner) AS "owner", prorows AS rows, proleakproof AS is_leakproof, proparallel AS concurrency_kind FROM pg_catalog.pg_proc WHERE pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'shop') AND NOT (prokind = 'a')) SELECT * FROM routines NATURAL JOIN languages;

-- rows 2
SELECT D.objoid id, D.objsubid AS kind, D.description AS comment FROM pg_catalog.pg_description D JOIN pg_catalog.pg_class C ON D.objoid = C.oid WHERE C.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'shop') AND C.relkind IN ('r', 'm', 'v', 'p') ORDER BY D.objsubid;

-- rows 2
SELECT T.relkind AS view_kind, T.oid AS view_id, pg_catalog.pg_get_viewdef(T.oid, true) AS source_text FROM pg_catalog.pg_class T JOIN pg_catalog.pg_namespace N ON T.relnamespace = N.oid WHERE N.nspname = 'shop' AND T.relkind IN ('m', 'v');
