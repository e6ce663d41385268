-- Grafana: pickers of tables and columns, variables, time series, alerts.

-- rows 1
SELECT current_setting('server_version_num')::int / 100;

-- rows 0
SELECT extversion FROM pg_extension WHERE extname = 'timescaledb';

-- rows 0
SET search_path = shop, public;

-- rows 3
SELECT CASE WHEN quote_ident(table_schema) IN (SELECT CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END FROM generate_series(array_lower(string_to_array(current_setting('search_path'), ','), 1), array_upper(string_to_array(current_setting('search_path'), ','), 1)) AS i, string_to_array(current_setting('search_path'), ',') s) THEN quote_ident(table_name) ELSE quote_ident(table_schema) || '.' || quote_ident(table_name) END AS "table" FROM information_schema.tables WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', '_prometheus_catalog', '_timescaledb_internal', '_timescaledb_config', '_timescaledb_cache', 'perigee', 'redis') AND table_type = 'BASE TABLE' AND quote_ident(table_schema) = 'shop' ORDER BY CASE WHEN quote_ident(table_schema) IN (SELECT CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END FROM generate_series(array_lower(string_to_array(current_setting('search_path'), ','), 1), array_upper(string_to_array(current_setting('search_path'), ','), 1)) AS i, string_to_array(current_setting('search_path'), ',') s) THEN 0 ELSE 1 END, 1;

-- rows 3
-- shows timestamp with time zone
SELECT quote_ident(column_name) AS "column", data_type AS "type" FROM information_schema.columns WHERE CASE WHEN array_length(parse_ident('shop.reading'), 1) = 2 THEN quote_ident(table_schema) = (parse_ident('shop.reading'))[1] AND quote_ident(table_name) = (parse_ident('shop.reading'))[2] ELSE quote_ident(table_name) = 'reading' AND quote_ident(table_schema) IN (SELECT CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END FROM generate_series(array_lower(string_to_array(current_setting('search_path'), ','), 1), array_upper(string_to_array(current_setting('search_path'), ','), 1)) AS i, string_to_array(current_setting('search_path'), ',') s) END;

-- rows 1
SELECT quote_ident(column_name) FROM information_schema.columns WHERE quote_ident(table_name) = 'reading' AND data_type IN ('timestamp without time zone', 'timestamp with time zone', 'bigint', 'integer', 'double precision', 'real') AND column_name = 'at' ORDER BY ordinal_position;

-- rows 240
SELECT at AS "time", sensor AS metric, value FROM shop.reading WHERE at BETWEEN '2024-06-01T00:00:00Z' AND '2024-06-01T02:00:00Z' ORDER BY 1;

-- rows 4
SELECT floor(extract(epoch from at) / 3600) * 3600 AS "time", sensor AS metric, avg(value) AS value FROM shop.reading WHERE at BETWEEN '2024-06-01T00:00:00Z' AND '2024-06-01T02:00:00Z' GROUP BY 1, 2 ORDER BY 1, 2;

-- rows 24
SELECT floor(extract(epoch from "at") / 300) * 300 AS "time", avg(value) AS "value", max(value) FILTER (WHERE sensor = 'sensor 1') AS "peak" FROM shop.reading WHERE extract(epoch from at) >= 1717200000 AND extract(epoch from at) <= 1717207199 GROUP BY 1 ORDER BY 1;

-- rows 2
SELECT DISTINCT sensor AS __text, sensor AS __value FROM shop.reading WHERE sensor IN ('sensor 0', 'sensor 1') ORDER BY 1;

-- rows 1
SELECT now() AS "time", count(*) AS "value" FROM shop.reading WHERE value > 100;

-- rows 0
RESET search_path;
