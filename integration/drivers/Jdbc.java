// pgjdbc as applications use it. `java -cp postgresql.jar Jdbc.java HOST PORT`; exits 1 where a check fails.
import java.io.StringReader;
import java.math.BigDecimal;
import java.sql.*;
import java.time.*;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

public class Jdbc {
    interface Check { void run(Connection c) throws Exception; }

    static boolean failed = false;
    static String url;

    static void check(String name, String options, Check check) {
        try (Connection c = DriverManager.getConnection(url + options)) {
            check.run(c);
            System.out.println("ok    " + name);
        } catch (Throwable e) {
            failed = true;
            System.out.println("FAIL  " + name + ": " + e);
            for (int i = 0; i < Math.min(3, e.getStackTrace().length); i++) System.out.println("        " + e.getStackTrace()[i]);
        }
    }

    static void equal(Object got, Object want) {
        if (!Objects.equals(got, want)) throw new AssertionError(got + " is not " + want);
    }

    public static void main(String[] args) {
        url = "jdbc:postgresql://" + args[0] + ":" + args[1] + "/postgres?user=postgres&loginTimeout=10";
        for (String mode : new String[] {"simple", "extended", "extendedForPrepared", "extendedCacheEverything"}) {
            check("values " + mode, "&preferQueryMode=" + mode + "&prepareThreshold=3", c -> {
                // Behind the threshold it is a named statement, then binary.
                try (PreparedStatement s = c.prepareStatement(
                        "SELECT ?::int4, ?::int8, ?::text, ?::numeric, ?::timestamptz, ?::bool, ?::float8, ?::date, ?::uuid, ?::bytea")) {
                    for (int i = 0; i < 8; i++) {
                        UUID id = UUID.randomUUID();
                        OffsetDateTime at = OffsetDateTime.of(2024, 2, 29, 12, 34, 56, 789000000, ZoneOffset.UTC);
                        s.setInt(1, i);
                        s.setLong(2, Long.MIN_VALUE);
                        s.setString(3, "hé");
                        s.setBigDecimal(4, new BigDecimal("12.50"));
                        s.setObject(5, at);
                        s.setBoolean(6, true);
                        s.setDouble(7, 0.1);
                        s.setObject(8, LocalDate.of(2024, 2, 29));
                        s.setObject(9, id);
                        s.setBytes(10, new byte[] {0, -1});
                        ResultSet r = s.executeQuery();
                        r.next();
                        equal(r.getInt(1), i);
                        equal(r.getLong(2), Long.MIN_VALUE);
                        equal(r.getString(3), "hé");
                        equal(r.getBigDecimal(4).compareTo(new BigDecimal("12.5")), 0);
                        equal(r.getObject(5, OffsetDateTime.class).toInstant(), at.toInstant());
                        equal(r.getBoolean(6), true);
                        equal(r.getDouble(7), 0.1);
                        equal(r.getObject(8, LocalDate.class), LocalDate.of(2024, 2, 29));
                        equal(r.getObject(9), id);
                        equal(Arrays.toString(r.getBytes(10)), "[0, -1]");
                    }
                }
            });
        }
        check("transactions", "", c -> {
            try (Statement s = c.createStatement()) {
                s.execute("DROP TABLE IF EXISTS jdbc");
                s.execute("CREATE TABLE jdbc (id serial PRIMARY KEY, name varchar(20) NOT NULL, price numeric(10,2))");
            }
            c.setAutoCommit(false);
            try (PreparedStatement s = c.prepareStatement("INSERT INTO jdbc (name, price) VALUES (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
                s.setString(1, "a");
                s.setBigDecimal(2, new BigDecimal("1.50"));
                equal(s.executeUpdate(), 1);
                ResultSet keys = s.getGeneratedKeys();
                keys.next();
                equal(keys.getInt("id"), 1);
            }
            Savepoint mark = c.setSavepoint();
            try (Statement s = c.createStatement()) {
                s.execute("INSERT INTO jdbc VALUES (1, 'b')");
                throw new AssertionError("a duplicate was taken");
            } catch (SQLException e) {
                equal(e.getSQLState(), "23505");
            }
            c.rollback(mark);
            c.commit();
            c.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
            c.setReadOnly(true);
            try (Statement s = c.createStatement(); ResultSet r = s.executeQuery("SELECT count(*) FROM jdbc")) {
                r.next();
                equal(r.getInt(1), 1);
            }
            c.rollback();
        });
        check("batches", "&reWriteBatchedInserts=true", c -> {
            c.setAutoCommit(false);
            try (PreparedStatement s = c.prepareStatement("INSERT INTO jdbc (name) VALUES (?)")) {
                for (int i = 0; i < 1000; i++) {
                    s.setString(1, "n" + i);
                    s.addBatch();
                }
                equal(s.executeBatch().length, 1000);
            }
            c.commit();
        });
        check("fetch size", "", c -> {
            c.setAutoCommit(false);
            try (Statement s = c.createStatement()) {
                s.setFetchSize(100);
                int rows = 0;
                try (ResultSet r = s.executeQuery("SELECT * FROM jdbc ORDER BY id")) {
                    while (r.next()) rows++;
                }
                equal(rows, 1001);
            }
        });
        check("copy", "", c -> {
            CopyManager copy = c.unwrap(PGConnection.class).getCopyAPI();
            equal(copy.copyIn("COPY jdbc (id, name) FROM STDIN", new StringReader("5000\tx\n5001\ty\n")), 2L);
            try {
                copy.copyIn("COPY jdbc (id, name) FROM STDIN", new StringReader("5002\tx\n5001\ty\n"));
                throw new AssertionError("a duplicate was taken");
            } catch (SQLException e) {
                equal(e.getSQLState(), "23505");
            }
        });
        check("metadata", "", c -> {
            DatabaseMetaData m = c.getMetaData();
            equal(names(m.getTables(null, "public", "jdbc", new String[] {"TABLE"}), "TABLE_NAME"), List.of("jdbc"));
            equal(names(m.getColumns(null, "public", "jdbc", "%"), "COLUMN_NAME"), List.of("id", "name", "price"));
            equal(names(m.getSchemas(), "TABLE_SCHEM").contains("public"), true);
            names(m.getCatalogs(), "TABLE_CAT");
            names(m.getFunctions(null, null, "%"), "FUNCTION_NAME");
            try (Statement s = c.createStatement(); ResultSet r = s.executeQuery("SELECT id, name, price FROM jdbc LIMIT 1")) {
                ResultSetMetaData d = r.getMetaData();
                equal(d.getTableName(1), "jdbc");
                equal(d.isNullable(2), ResultSetMetaData.columnNoNulls);
                equal(d.getPrecision(2), 20);
                equal(d.getScale(3), 2);
                equal(d.isAutoIncrement(1), true);
            }
        });
        check("metadata of keys", "", c -> {
            try (Statement s = c.createStatement()) {
                s.execute("DROP TABLE IF EXISTS child, parent");
                s.execute("CREATE TABLE parent (a int, b int, c text UNIQUE, PRIMARY KEY (b, a))");
                s.execute("CREATE TABLE child (id serial PRIMARY KEY, x int, y int, "
                        + "CONSTRAINT to_parent FOREIGN KEY (y, x) REFERENCES parent ON DELETE CASCADE)");
            }
            DatabaseMetaData m = c.getMetaData();
            SortedMap<Integer, String> keys = new TreeMap<>();
            try (ResultSet r = m.getPrimaryKeys(null, "public", "parent")) {
                while (r.next()) keys.put(r.getInt("KEY_SEQ"), r.getString("COLUMN_NAME"));
            }
            equal(keys, new TreeMap<>(Map.of(1, "b", 2, "a")));
            equal(names(m.getImportedKeys(null, "public", "child"), "FKCOLUMN_NAME"), List.of("y", "x"));
            equal(names(m.getExportedKeys(null, "public", "parent"), "FK_NAME"), List.of("to_parent", "to_parent"));
            equal(new TreeSet<>(names(m.getIndexInfo(null, "public", "parent", false, false), "COLUMN_NAME")),
                    new TreeSet<>(List.of("a", "b", "c")));
            equal(names(m.getBestRowIdentifier(null, "public", "parent", 0, true), "COLUMN_NAME").size(), 2);
            equal(names(m.getSchemas(), "TABLE_SCHEM").contains("public"), true);
            equal(names(m.getTypeInfo(), "TYPE_NAME").contains("int4"), true);
            names(m.getFunctions(null, null, "lower"), "FUNCTION_NAME");
            names(m.getTablePrivileges(null, "public", "parent"), "PRIVILEGE");
            names(m.getColumnPrivileges(null, "public", "parent", "%"), "PRIVILEGE");
            try (Statement s = c.createStatement()) {
                s.execute("DROP TABLE child, parent");
            }
        });
        check("cancel", "", c -> {
            try (Statement s = c.createStatement()) {
                s.setQueryTimeout(1);
                s.execute("SELECT count(*) FROM generate_series(1, 1000000000000) AS g(i)");
                throw new AssertionError("it was not canceled");
            } catch (SQLException e) {
                equal(e.getSQLState(), "57014");
            }
            equal(c.isValid(1), true);
        });
        System.exit(failed ? 1 : 0);
    }

    static List<String> names(ResultSet r, String column) throws SQLException {
        List<String> all = new ArrayList<>();
        while (r.next()) all.add(r.getString(column));
        return all;
    }
}
