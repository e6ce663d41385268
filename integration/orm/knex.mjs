// Knex: migrations up and down, the schema builder, queries, nested transactions. `knex.mjs HOST PORT`.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import Knex from 'knex';

const [host, port] = process.argv.slice(2);
mkdirSync('migrations', { recursive: true });
writeFileSync('migrations/1_tables.mjs', `
export async function up(knex) {
    await knex.schema.createTable('authors', (t) => {
        t.increments('id');
        t.string('name', 80).notNullable().unique();
        t.enu('kind', ['person', 'group']).notNullable().defaultTo('person');
        t.jsonb('tags').defaultTo('[]');
        t.uuid('key').defaultTo(knex.fn.uuid());
        t.timestamps(true, true);
    });
    await knex.schema.createTable('books', (t) => {
        t.bigIncrements('id');
        t.integer('author').notNullable().references('id').inTable('authors').onDelete('CASCADE');
        t.string('title').notNullable();
        t.decimal('price', 10, 2);
        t.index(['author', 'title'], 'books_author_title');
    });
}
export async function down(knex) {
    await knex.schema.dropTable('books');
    await knex.schema.dropTable('authors');
}`);
writeFileSync('migrations/2_changes.mjs', `
export async function up(knex) {
    await knex.schema.alterTable('books', (t) => {
        t.text('summary');
        t.string('title', 200).notNullable().alter();
        t.dropIndex(['author', 'title'], 'books_author_title');
        t.unique(['author', 'title']);
    });
    await knex.schema.renameTable('books', 'works');
}
export async function down(knex) {
    await knex.schema.renameTable('works', 'books');
    await knex.schema.alterTable('books', (t) => {
        t.dropUnique(['author', 'title'], 'books_author_title_unique');
        t.dropColumn('summary');
        t.index(['author', 'title'], 'books_author_title');
    });
}`);
const knex = Knex({
    client: 'pg',
    connection: { host, port: Number(port), user: 'postgres', database: 'postgres' },
    migrations: { directory: './migrations', loadExtensions: ['.mjs'] },
});

await knex.migrate.latest();
assert.equal((await knex.migrate.list())[0].length, 2);
assert.equal(await knex.schema.hasTable('works'), true);
assert.equal(await knex.schema.hasTable('books'), false);
assert.equal(await knex.schema.hasColumn('works', 'summary'), true);
const columns = await knex('authors').columnInfo();
assert.equal(columns.name.type, 'character varying');
assert.equal(columns.name.maxLength, 80);
assert.equal(columns.name.nullable, false);

const [ada] = await knex('authors').insert({ name: 'Ada', tags: JSON.stringify(['maths']) }).returning(['id', 'kind', 'tags']);
assert.deepEqual(ada, { id: 1, kind: 'person', tags: ['maths'] });
await assert.rejects(knex('authors').insert({ name: 'Ada' }), { code: '23505' });
await assert.rejects(knex('authors').insert({ name: 'x', kind: 'robot' }), { code: '23514' });
await knex('authors').insert([{ name: 'Ada', kind: 'group' }, { name: 'Grace' }]).onConflict('name').merge(['kind']);
assert.deepEqual(await knex('authors').orderBy('name').pluck('kind'), ['group', 'person']);
const rows = Array.from({ length: 250 }, (_, n) => ({ author: ada.id, title: `book ${n}`, price: n / 4 }));
await knex.batchInsert('works', rows, 100);
const [{ count, sum }] = await knex('works').count('* as count').sum('price as sum');
assert.deepEqual([count, sum], ['250', '7781.25']);
const joined = await knex('works').join('authors', 'authors.id', 'works.author').where('price', '>', 61.5)
    .whereRaw("tags @> ?::jsonb", [JSON.stringify(['maths'])]).orderBy('price', 'desc').limit(2).select('title', 'name');
assert.deepEqual(joined, [{ title: 'book 249', name: 'Ada' }, { title: 'book 248', name: 'Ada' }]);
assert.deepEqual(await knex('works').whereIn('title', ['book 1', 'book 2']).orderBy('id').pluck('price'), ['0.25', '0.50']);

await knex.transaction(async (outer) => {
    await outer('works').where({ title: 'book 0' }).forUpdate().first();
    await outer('works').where({ title: 'book 0' }).update({ summary: 'kept' });
    await assert.rejects(outer.transaction(async (inner) => {
        await inner('works').where({ title: 'book 0' }).update({ summary: 'lost' });
        await inner.raw('SELECT 1 / 0');
    }), { code: '22012' });
});
assert.equal((await knex('works').where({ title: 'book 0' }).first()).summary, 'kept');
await assert.rejects(knex.transaction(async (trx) => {
    await trx('works').del();
    throw new Error('back');
}), /back/);
let streamed = 0;
for await (const row of knex('works').select('id').stream()) streamed += row.id ? 1 : 0;
assert.equal(streamed, 250);
await knex('authors').where({ id: ada.id }).del();
assert.equal((await knex('works').count('* as n').first()).n, '0');

await knex.migrate.down();
assert.equal(await knex.schema.hasTable('books'), true);
await knex.migrate.rollback({}, true);
assert.equal(await knex.schema.hasTable('authors'), false);
await knex.schema.dropTable('knex_migrations').dropTable('knex_migrations_lock');
await knex.destroy();
console.log('ok      knex');
