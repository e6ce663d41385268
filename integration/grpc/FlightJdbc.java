import java.sql.*;
import java.util.*;

/** Arrow's JDBC driver over Flight SQL: what a tool does with it that shows tables and queries. FlightJdbc HOST PORT */
public class FlightJdbc {
    static void check(boolean holds, Object what) {
        if (!holds) throw new AssertionError(String.valueOf(what));
    }

    static List<String> column(ResultSet rows, String name) throws SQLException {
        List<String> found = new ArrayList<>();
        try (rows) {
            while (rows.next()) found.add(rows.getString(name));
        }
        return found;
    }

    public static void main(String[] arguments) throws Exception {
        String url = "jdbc:arrow-flight-sql://" + arguments[0] + ":" + arguments[1] + "?useEncryption=false&user=postgres&password=none";
        try (Connection connection = DriverManager.getConnection(url); Statement statement = connection.createStatement()) {
            statement.executeUpdate("CREATE TABLE flights (id int PRIMARY KEY, name text NOT NULL, at timestamptz, price numeric(10,2), ok boolean)");
            int count = statement.executeUpdate("INSERT INTO flights VALUES (1, 'eins', '2026-01-02 03:00+00', 12.50, true), (2, 'zwei', NULL, NULL, false)");
            check(count == 2, count);

            DatabaseMetaData about = connection.getMetaData();
            check(about.getDatabaseProductName() != null, "the product has a name");
            check(column(about.getTables(null, "public", "fli%", null), "TABLE_NAME").equals(List.of("flights")), "tables");
            List<String> columns = column(about.getColumns(null, "public", "flights", null), "COLUMN_NAME");
            check(columns.equals(List.of("id", "name", "at", "price", "ok")), columns);
            check(column(about.getSchemas(), "TABLE_SCHEM").contains("public"), "schemas");
            check(column(about.getPrimaryKeys(null, "public", "flights"), "COLUMN_NAME").equals(List.of("id")), "keys");

            try (ResultSet rows = statement.executeQuery("SELECT id, name, at, price, ok FROM flights ORDER BY id")) {
                check(rows.next() && rows.getInt(1) == 1 && rows.getString(2).equals("eins"), "a row");
                check(rows.getTimestamp(3).toInstant().toString().equals("2026-01-02T03:00:00Z"), rows.getTimestamp(3).toInstant());
                check(rows.getBigDecimal(4).toString().equals("12.50") && rows.getBoolean(5), rows.getBigDecimal(4));
                check(rows.next() && rows.getTimestamp(3) == null && rows.wasNull() && rows.getBigDecimal(4) == null, "NULL");
                check(!rows.next(), "the end");
            }
            try (PreparedStatement prepared = connection.prepareStatement("SELECT name FROM flights WHERE id = ?")) {
                for (int id = 1; id <= 2; id++) {
                    prepared.setInt(1, id);
                    try (ResultSet rows = prepared.executeQuery()) {
                        check(rows.next() && rows.getString(1).equals(id == 1 ? "eins" : "zwei") && !rows.next(), id);
                    }
                }
            }
            try (PreparedStatement prepared = connection.prepareStatement("INSERT INTO flights (id, name) VALUES (?, ?)")) {
                prepared.setInt(1, 3);
                prepared.setString(2, "drei");
                check(prepared.executeUpdate() == 1, "a prepared write");
            }
            long rowCount = 0, sum = 0;
            try (ResultSet rows = statement.executeQuery("SELECT n FROM generate_series(1, 200000) AS g (n)")) {
                for (; rows.next(); rowCount++) sum += rows.getLong(1);
            }
            check(rowCount == 200_000 && sum == 20_000_100_000L, rowCount + " rows");
            try {
                statement.executeQuery("SELECT nothing FROM flights");
                check(false, "a column that is not there");
            } catch (SQLException error) {
                check(error.getMessage().contains("nothing"), error.getMessage());
            }
            try (ResultSet rows = statement.executeQuery("SELECT count(*) FROM flights")) {
                check(rows.next() && rows.getLong(1) == 3, "the connection goes on");
            }
        }
        System.out.println("JDBC: ok");
    }
}
