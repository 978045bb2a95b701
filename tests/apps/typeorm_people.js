// TypeORM on one SQLite file: generated integers as keys, a uuid beside them, and
// `synchronize`, which makes tables anew whose entities have changed; with PEOPLE_MIGRATIONS
// in the environment its migrations, whose query runner does the same.
//   node typeorm_people.js FILE migrate 1|2 | add KEY NAME | rename KEY NAME | remove KEY | list
require('reflect-metadata');
const { randomUUID } = require('crypto');
const fs = require('fs');
const { DataSource, EntitySchema, Table, TableColumn, TableIndex } = require('typeorm');

const [file, verb, ...args] = process.argv.slice(2);
const marker = `${file}.second`; // Which version of the program this device runs.
if (verb === 'migrate' && args[0] === '2') fs.writeFileSync(marker, '');
const second = fs.existsSync(marker);
const migrates = Boolean(process.env.PEOPLE_MIGRATIONS);

const Person = new EntitySchema({
  name: 'Person',
  columns: {
    id: { type: 'integer', primary: true, generated: 'increment' },
    uuid: { type: 'varchar', unique: true },
    name: { type: second ? 'text' : 'varchar' },
    phone: { type: 'varchar', nullable: true },
    ...(second ? { nick: { type: 'varchar', nullable: true, default: 'none' } } : {}),
  },
  relations: {
    visits: { type: 'one-to-many', target: 'Visit', inverseSide: 'person' },
    groups: { type: 'many-to-many', target: 'Group', joinTable: true },
  },
});
const Visit = new EntitySchema({
  name: 'Visit',
  columns: {
    id: { type: 'integer', primary: true, generated: 'increment' },
    uuid: { type: 'varchar', unique: true },
    note: { type: 'text', nullable: true },
    changed: { type: 'datetime', updateDate: true },
  },
  relations: {
    person: { type: 'many-to-one', target: 'Person', inverseSide: 'visits', onDelete: 'CASCADE' },
  },
});
const Group = new EntitySchema({
  name: 'Group',
  columns: {
    id: { type: 'integer', primary: true, generated: 'increment' },
    name: { type: 'varchar', unique: true },
  },
});

const id = { name: 'id', type: 'integer', isPrimary: true, isGenerated: true,
  generationStrategy: 'increment' };
const named = { name: 'uuid', type: 'varchar', isUnique: true };
const link = (name) => ({ name, type: 'integer', isPrimary: true });
const foreign = (column, table) => ({ columnNames: [column], referencedTableName: table,
  referencedColumnNames: ['id'], onDelete: 'CASCADE' });

class First1700000000000 {
  async up(runner) {
    await runner.createTable(new Table({ name: 'person', columns: [
      id, named, { name: 'name', type: 'varchar' },
      { name: 'phone', type: 'varchar', isNullable: true }] }));
    await runner.createTable(new Table({ name: 'visit', columns: [
      id, named, { name: 'note', type: 'text', isNullable: true },
      { name: 'changed', type: 'datetime', default: "datetime('now')" },
      { name: 'personId', type: 'integer', isNullable: true }],
    foreignKeys: [foreign('personId', 'person')] }));
    await runner.createTable(new Table({ name: 'group', columns: [
      id, { name: 'name', type: 'varchar', isUnique: true }] }));
    await runner.createTable(new Table({ name: 'person_groups_group',
      columns: [link('personId'), link('groupId')],
      foreignKeys: [foreign('personId', 'person'), foreign('groupId', 'group')] }));
  }
}

// Each of these but the index makes its table anew.
class Second1700000000001 {
  async up(runner) {
    await runner.addColumn('person', new TableColumn({ name: 'nick', type: 'varchar',
      isNullable: true, default: "'none'" }));
    await runner.changeColumn('person', 'name', new TableColumn({ name: 'name', type: 'text' }));
    await runner.createIndex('visit', new TableIndex({ name: 'visit_note', columnNames: ['note'] }));
  }
}

const find = (people, phone) =>
  people.findOneOrFail({ where: { phone }, relations: { visits: true, groups: true } });

async function main() {
  const source = new DataSource({
    type: 'better-sqlite3', database: file, timeout: 20000, entities: [Person, Visit, Group],
    synchronize: verb === 'migrate' && !migrates,
    migrations: second ? [First1700000000000, Second1700000000001] : [First1700000000000],
    migrationsRun: verb === 'migrate' && migrates,
  });
  await source.initialize();
  const people = source.getRepository('Person');
  if (verb === 'add') {
    await source.transaction(async (manager) => {
      const name = `group of ${args[0]}`;
      const group = await manager.save('Group', { name });
      await manager.save('Person', {
        uuid: randomUUID(), phone: args[0], name: args[1], groups: [group],
      }).then((person) => manager.save('Visit', {
        uuid: randomUUID(), note: `first of ${args[0]}`, person,
      }));
    });
  } else if (verb === 'rename') {
    const person = await find(people, args[0]);
    person.name = args[1];
    person.groups.push(await source.getRepository('Group').save({ name: `more ${args[1]}` }));
    await people.save(person);
  } else if (verb === 'remove') {
    await people.remove(await find(people, args[0]));
  } else if (verb === 'list') {
    const all = await people.find({ relations: { visits: true, groups: true } });
    for (const one of all.sort((a, b) => (a.uuid < b.uuid ? -1 : 1))) {
      const groups = one.groups.map((group) => group.name).sort();
      console.log([one.uuid, one.name, one.phone, one.visits.map((v) => v.note), groups].join('|'));
    }
  }
  await source.destroy();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
