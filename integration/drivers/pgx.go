// pgx as applications use it. `go run pgx.go HOST PORT`; exits 1 where a check fails.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

var failed = false

func check(name string, dsn string, run func(context.Context, *pgx.Conn) error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err == nil {
		err = run(ctx, conn)
		conn.Close(context.Background())
	}
	if err != nil {
		failed = true
		fmt.Printf("FAIL  %s: %v\n", name, err)
		return
	}
	fmt.Printf("ok    %s\n", name)
}

func equal(got, want any) error {
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("%v is not %v", got, want)
	}
	return nil
}

func main() {
	dsn := fmt.Sprintf("postgres://postgres@%s:%s/postgres?sslmode=disable", os.Args[1], os.Args[2])
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		dsn := dsn + "&default_query_exec_mode=" + mode
		check("values "+mode, dsn, func(ctx context.Context, conn *pgx.Conn) error {
			at := time.Date(2024, 2, 29, 12, 34, 56, 789000000, time.UTC)
			for i := 0; i < 3; i++ {
				var a int32
				var b string
				var c time.Time
				var d []int32
				var e []byte
				var f pgtype.Numeric
				var g *int64
				var h bool
				row := conn.QueryRow(ctx, "SELECT $1::int4, $2::text, $3::timestamptz, $4::int4[], $5::bytea, $6::numeric, $7::int8, $8::bool",
					7, "x", at, []int32{1, 2}, []byte{0, 255}, "12.50", nil, true)
				if err := row.Scan(&a, &b, &c, &d, &e, &f, &g, &h); err != nil {
					return err
				}
				number, _ := f.Float64Value()
				if err := equal([]any{a, b, c.UTC(), d, e, number.Float64, g == nil, h}, []any{7, "x", at, []int32{1, 2}, []byte{0, 255}, 12.5, true, true}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	check("transactions", dsn, func(ctx context.Context, conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "DROP TABLE IF EXISTS gx; CREATE TABLE gx (id bigint PRIMARY KEY, name text)"); err != nil {
			return err
		}
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "INSERT INTO gx VALUES ($1, $2)", 1, "one"); err != nil {
				return err
			}
			inner := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, "INSERT INTO gx VALUES (1, 'again')")
				return err
			})
			var pg *pgconn.PgError
			if !errors.As(inner, &pg) || pg.Code != "23505" || pg.ConstraintName != "gx_pkey" {
				return fmt.Errorf("no duplicate: %v", inner)
			}
			return nil
		})
		if err != nil {
			return err
		}
		var count int
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM gx").Scan(&count); err != nil {
			return err
		}
		return equal(count, 1)
	})
	check("batch", dsn, func(ctx context.Context, conn *pgx.Conn) error {
		batch := &pgx.Batch{}
		for i := 10; i < 30; i++ {
			batch.Queue("INSERT INTO gx VALUES ($1, $2)", i, fmt.Sprint(i))
		}
		batch.Queue("SELECT count(*) FROM gx")
		results := conn.SendBatch(ctx, batch)
		for i := 10; i < 30; i++ {
			if _, err := results.Exec(); err != nil {
				return err
			}
		}
		var count int
		if err := results.QueryRow().Scan(&count); err != nil {
			return err
		}
		if err := results.Close(); err != nil {
			return err
		}
		return equal(count, 21)
	})
	check("copy", dsn, func(ctx context.Context, conn *pgx.Conn) error {
		rows := [][]any{}
		for i := 100; i < 5100; i++ {
			rows = append(rows, []any{int64(i), fmt.Sprint("row ", i)})
		}
		count, err := conn.CopyFrom(ctx, pgx.Identifier{"gx"}, []string{"id", "name"}, pgx.CopyFromRows(rows))
		if err != nil {
			return err
		}
		if err := equal(count, 5000); err != nil {
			return err
		}
		_, err = conn.CopyFrom(ctx, pgx.Identifier{"gx"}, []string{"id", "name"}, pgx.CopyFromRows(rows[:10]))
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "23505" || !strings.Contains(pg.Where, "COPY gx, line 1") {
			return fmt.Errorf("no duplicate: %v", err)
		}
		var text string
		err = conn.QueryRow(ctx, "SELECT name FROM gx WHERE id = 5099").Scan(&text)
		if err != nil {
			return err
		}
		return equal(text, "row 5099")
	})
	check("cancel by context", dsn, func(ctx context.Context, conn *pgx.Conn) error {
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		slow := "SELECT count(*) FROM generate_series(1, 1000000000000) AS g(i)"
		if _, err := conn.Exec(short, slow); err == nil {
			return errors.New("it was not canceled")
		}
		return nil
	})
	check("rows", dsn, func(ctx context.Context, conn *pgx.Conn) error {
		type thing struct {
			ID   int64
			Name string
		}
		rows, err := conn.Query(ctx, "SELECT id, name FROM gx WHERE id = ANY($1::bigint[]) ORDER BY id", []int64{10, 11})
		if err != nil {
			return err
		}
		things, err := pgx.CollectRows(rows, pgx.RowToStructByName[thing])
		if err != nil {
			return err
		}
		return equal(things, []thing{{10, "10"}, {11, "11"}})
	})
	if failed {
		os.Exit(1)
	}
}
