// Drizzle: its kit makes the tables of a schema and finds nothing left to change; queries with relations. `drizzle.mjs HOST PORT`.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [host, port] = process.argv.slice(2);
const url = `postgresql://postgres@${host}:${port}/postgres`;
writeFileSync('schema.mjs', `
import { relations } from 'drizzle-orm';
import { boolean, index, integer, jsonb, numeric, pgEnum, pgTable, primaryKey, serial, text, timestamp, uniqueIndex, uuid, varchar } from 'drizzle-orm/pg-core';

export const role = pgEnum('drizzle_role', ['reader', 'writer']);
export const people = pgTable('drizzle_people', {
    id: serial().primaryKey(),
    key: uuid().defaultRandom().notNull(),
    name: varchar({ length: 60 }).notNull(),
    role: role().default('reader').notNull(),
    active: boolean().default(true),
    facts: jsonb().default({}),
    joined: timestamp({ withTimezone: true }).defaultNow().notNull(),
}, (t) => [uniqueIndex('drizzle_people_name').on(t.name), index('drizzle_people_role').on(t.role, t.joined)]);
export const posts = pgTable('drizzle_posts', {
    author: integer().notNull().references(() => people.id, { onDelete: 'cascade' }),
    number: integer().notNull(),
    body: text().notNull(),
    score: numeric({ precision: 8, scale: 2 }),
}, (t) => [primaryKey({ columns: [t.author, t.number] })]);
export const peopleRelations = relations(people, ({ many }) => ({ posts: many(posts) }));
export const postsRelations = relations(posts, ({ one }) => ({ author: one(people, { fields: [posts.author], references: [people.id] }) }));
`);
writeFileSync('drizzle.config.mjs', `export default {
    dialect: 'postgresql', schema: './schema.mjs', dbCredentials: { url: '${url}' }, tablesFilter: ['drizzle_*'],
};`);
const kit = (...args) => execFileSync('npx', ['drizzle-kit', ...args, '--config', 'drizzle.config.mjs'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
kit('push', '--force');
assert.match(kit('push', '--force'), /No changes detected/);

const { and, count, desc, eq, gt, inArray, sql } = await import('drizzle-orm');
const { drizzle } = await import('drizzle-orm/node-postgres');
const schema = await import(pathToFileURL('schema.mjs'));
const { people, posts } = schema;
const db = drizzle(url, { schema });

const made = await db.insert(people).values([{ name: 'Ada', role: 'writer' }, { name: 'Grace', facts: { rank: 'admiral' } }]).returning();
assert.deepEqual(made.map((p) => [p.id, p.name, p.role, p.active]), [[1, 'Ada', 'writer', true], [2, 'Grace', 'reader', true]]);
assert.ok(made[0].joined instanceof Date);
await db.insert(people).values({ name: 'Ada' }).onConflictDoUpdate({ target: people.name, set: { active: false } });
await db.insert(posts).values([1, 2, 3].map((number) => ({ author: 1, number, body: `post ${number}`, score: `${number}.50` })));
const found = await db.query.people.findMany({
    with: { posts: { where: gt(posts.number, 1), orderBy: [desc(posts.number)] } },
    orderBy: (t, { asc }) => [asc(t.id)],
});
assert.deepEqual(found.map((p) => [p.name, p.active, p.posts.map((post) => post.body)]), [
    ['Ada', false, ['post 3', 'post 2']],
    ['Grace', true, []],
]);
const totals = await db.select({ name: people.name, n: count(posts.number), best: sql`max(${posts.score})` })
    .from(people).leftJoin(posts, eq(posts.author, people.id)).groupBy(people.name).orderBy(people.name);
assert.deepEqual(totals, [{ name: 'Ada', n: 3, best: '3.50' }, { name: 'Grace', n: 0, best: null }]);
const prepared = db.select().from(people).where(eq(people.role, sql.placeholder('role'))).prepare('by_role');
assert.equal((await prepared.execute({ role: 'writer' }))[0].name, 'Ada');
assert.equal((await prepared.execute({ role: 'reader' }))[0].name, 'Grace');
await assert.rejects(db.transaction(async (tx) => {
    await tx.update(posts).set({ score: '0' }).where(and(eq(posts.author, 1), inArray(posts.number, [1, 2])));
    await tx.transaction(async (inner) => inner.delete(posts));
    throw new Error('back');
}), /back/);
assert.equal((await db.select({ n: count() }).from(posts).where(gt(posts.score, '0')))[0].n, 3);
await db.delete(people).where(eq(people.id, 1));
assert.equal(await db.$count(posts), 0);
await db.execute(sql`DROP TABLE drizzle_posts, drizzle_people`);
await db.execute(sql`DROP TYPE drizzle_role`);
await db.$client.end();
console.log('ok      drizzle');
