// node-postgres as applications use it. `node node.mjs HOST PORT`; exits 1 where a check fails.
import assert from 'node:assert/strict'
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import pg from 'pg'
import Cursor from 'pg-cursor'
import QueryStream from 'pg-query-stream'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'

const [host, port] = [process.argv[2], Number(process.argv[3])]
const config = { host, port, user: 'postgres', database: 'postgres' }
let failed = 0

async function check(name, run) {
  const client = new pg.Client(config)
  try {
    await client.connect()
    await run(client)
    console.log(`ok    ${name}`)
  } catch (error) {
    failed += 1
    console.log(`FAIL  ${name}: ${error.stack.split('\n').slice(0, 4).join('\n')}`)
  } finally {
    await client.end().catch(() => {})
  }
}

await check('values', async (client) => {
  const sql = 'SELECT $1::int AS a, $2::text AS b, $3::timestamptz AS c, $4::jsonb AS d, $5::int[] AS e, $6::bytea AS f, $7::bool AS g'
  const at = new Date('2024-02-29T12:34:56.789Z')
  const { rows, fields } = await client.query(sql, [1, 'two', at, { x: [1, null] }, [1, 2], Buffer.from([0, 255]), true])
  assert.deepEqual(rows[0], { a: 1, b: 'two', c: at, d: { x: [1, null] }, e: [1, 2], f: Buffer.from([0, 255]), g: true })
  assert.deepEqual(fields.map((field) => field.dataTypeID), [23, 25, 1184, 3802, 1007, 17, 16])
})

await check('named statements', async (client) => {
  for (let i = 0; i < 5; i += 1) {
    const { rows } = await client.query({ name: 'plus', text: 'SELECT $1::int + 1 AS n', values: [i] })
    assert.equal(rows[0].n, i + 1)
  }
})

await check('several statements', async (client) => {
  const results = await client.query('SELECT 1 AS a; SELECT 2 AS b')
  assert.deepEqual(results.map((result) => result.rows), [[{ a: 1 }], [{ b: 2 }]])
})

await check('transactions and errors', async (client) => {
  await client.query('DROP TABLE IF EXISTS njs')
  await client.query('CREATE TABLE njs (id serial PRIMARY KEY, name text UNIQUE)')
  await client.query('BEGIN')
  const { rows } = await client.query('INSERT INTO njs (name) VALUES ($1) RETURNING id', ['a'])
  assert.equal(rows[0].id, 1)
  await assert.rejects(client.query('INSERT INTO njs (name) VALUES ($1)', ['a']), { code: '23505', table: 'njs' })
  await assert.rejects(client.query('SELECT 1'), { code: '25P02' })
  await client.query('ROLLBACK')
  assert.equal((await client.query('SELECT * FROM njs')).rowCount, 0)
  await client.query('DROP TABLE njs')
})

await check('cursor', async (client) => {
  const cursor = client.query(new Cursor('SELECT i FROM generate_series(1, 300) AS g(i) WHERE i <= $1', [250]))
  assert.equal((await cursor.read(100)).length, 100)
  assert.equal((await cursor.read(100)).length, 100)
  assert.equal((await cursor.read(100)).length, 50)
  await cursor.close()
  assert.equal((await client.query('SELECT 1 AS a')).rows[0].a, 1)
})

await check('query stream', async (client) => {
  let sum = 0
  for await (const row of client.query(new QueryStream('SELECT i FROM generate_series(1, 1000) AS g(i)'))) sum += row.i
  assert.equal(sum, 500500)
})

await check('copy', async (client) => {
  await client.query('DROP TABLE IF EXISTS ncopy')
  await client.query('CREATE TABLE ncopy (a int, b text)')
  await pipeline(Readable.from(['1\tone\n2\t', 'two\n']), client.query(copyFrom('COPY ncopy FROM STDIN')))
  const chunks = []
  for await (const chunk of client.query(copyTo('COPY ncopy TO STDOUT'))) chunks.push(chunk)
  assert.equal(Buffer.concat(chunks).toString(), '1\tone\n2\ttwo\n')
  await assert.rejects(
    pipeline(Readable.from(['x\tone\n']), client.query(copyFrom('COPY ncopy FROM STDIN'))),
    { code: '22P02' },
  )
  await client.query('DROP TABLE ncopy')
})

await check('statement timeout', async (client) => {
  await client.query("SET statement_timeout = '200ms'")
  const slow = 'SELECT count(*) FROM generate_series(1, 1000000000000) AS g(i)'
  await assert.rejects(client.query(slow), { code: '57014' })
})

await check('pool', async () => {
  const pool = new pg.Pool({ ...config, max: 4 })
  const all = await Promise.all(Array.from({ length: 40 }, (_, i) => pool.query('SELECT $1::int AS i', [i])))
  assert.equal(all.reduce((sum, result) => sum + result.rows[0].i, 0), 780)
  await pool.end()
})

process.exit(failed ? 1 : 0)
