// TypeORM: tables of a schema are made and nothing is left to change; relations, enumerations, arrays, a view, soft deletion.
// `typeorm.mjs HOST PORT`. It drops the tables of schema public.
import assert from 'node:assert/strict';
import 'reflect-metadata';
import typeorm from 'typeorm';

const { DataSource, EntitySchema } = typeorm;
const [host, port] = process.argv.slice(2);
const Author = new EntitySchema({
    name: 'Author',
    tableName: 'typeorm_author',
    columns: {
        id: { type: 'int', primary: true, generated: true },
        name: { type: 'varchar', length: 60, unique: true },
        kind: { type: 'enum', enum: ['person', 'group'], default: 'person' },
        kinds: { type: 'enum', enum: ['x', 'y'], array: true, default: [] },
        doc: { type: 'jsonb', nullable: true },
        tags: { type: 'text', array: true, default: [] },
        key: { type: 'uuid', generated: 'uuid' },
        balance: { type: 'numeric', precision: 10, scale: 2, default: 0 },
        made: { type: 'timestamptz', createDate: true },
        pause: { type: 'interval', nullable: true },
        version: { type: 'int', version: true },
    },
    relations: { books: { type: 'one-to-many', target: 'Book', inverseSide: 'author' } },
    indices: [{ columns: ['kind', 'name'] }],
    checks: [{ expression: 'balance >= 0' }],
});
const Book = new EntitySchema({
    name: 'Book',
    tableName: 'typeorm_book',
    columns: {
        id: { type: 'bigint', primary: true, generated: 'identity' },
        title: { type: 'text' },
        gone: { type: 'timestamptz', deleteDate: true },
    },
    relations: {
        author: { type: 'many-to-one', target: 'Author', onDelete: 'CASCADE', inverseSide: 'books' },
        labels: { type: 'many-to-many', target: 'Label', joinTable: true },
    },
});
const Label = new EntitySchema({
    name: 'Label',
    tableName: 'typeorm_label',
    columns: { id: { type: 'uuid', primary: true, generated: 'uuid' }, text: { type: 'varchar' } },
});
const Shelf = new EntitySchema({
    name: 'typeorm_shelf',
    type: 'view',
    expression: 'SELECT b.title, a.name FROM typeorm_book b JOIN typeorm_author a ON a.id = b."authorId"',
    columns: { title: { type: 'text' }, name: { type: 'varchar' } },
});
const source = new DataSource({
    type: 'postgres', host, port: Number(port), username: 'postgres', database: 'postgres',
    entities: [Author, Book, Label, Shelf], uuidExtension: 'pgcrypto', installExtensions: false,
});
await source.initialize();
await source.synchronize(true);
const left = await source.driver.createSchemaBuilder().log();
assert.deepEqual(left.upQueries.map((query) => query.query), []);

const authors = source.getRepository('Author');
const ada = await authors.save({ name: 'Ada', books: [], doc: { a: 1 }, tags: ['q'], kinds: ['y'], balance: '3.5', pause: '1 day' });
assert.deepEqual([ada.id, ada.kind, ada.version], [1, 'person', 1]);
const label = await source.getRepository('Label').save({ text: 'new' });
await source.getRepository('Book').save([{ title: 'b1', author: ada, labels: [label] }, { title: 'b2', author: ada }]);
const [found] = await authors.find({ relations: { books: { labels: true } }, where: { name: 'Ada' }, take: 2, order: { id: 'ASC' } });
assert.deepEqual([found.books.length, found.tags, found.balance], [2, ['q'], '3.50']);
const query = authors.createQueryBuilder('a').leftJoinAndSelect('a.books', 'b').where("a.doc ->> 'a' = :value", { value: '1' });
assert.equal((await query.orderBy('b.title', 'DESC').skip(0).take(3).getManyAndCount())[1], 1);
await authors.upsert([{ name: 'Ada', kind: 'group' }], ['name']);
assert.equal((await authors.findOneBy({ name: 'Ada' })).kind, 'group');
await assert.rejects(authors.insert({ name: 'Ada' }), { code: '23505' });
await assert.rejects(authors.insert({ name: 'Debt', balance: '-1' }), { code: '23514' });
await source.getRepository('Book').softDelete({ title: 'b1' });
assert.equal(await source.getRepository('Book').count(), 1);
assert.equal(await source.getRepository('typeorm_shelf').count(), 2);
await source.transaction('SERIALIZABLE', async (manager) => {
    await manager.increment('Author', { name: 'Ada' }, 'balance', 2);
    const [locked] = await manager.createQueryBuilder('Author', 'a').setLock('pessimistic_write').getMany();
    assert.equal(locked.balance, '5.50');
});
await source.dropDatabase();
await source.destroy();
console.log('ok      typeorm');
