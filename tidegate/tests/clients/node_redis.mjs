// node-redis, unmodified, against the node at PORT: what applications do with it, over RESP2 and RESP3.
// Usage: node node_redis.mjs PORT MODULES, where MODULES is the folder that `npm install` has made.
// Prints how many checks passed; the first that fails ends it.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const [port, modules] = process.argv.slice(2);
const require = createRequire(`${resolve(modules)}/`);
const { createClient, createClientPool, WatchError } = require('redis');
const { version } = require('redis/package.json');
let checks = 0;

function check(got, wanted) {
  assert.deepEqual(got, wanted);
  checks += 1;
}

async function refuses(text, promise) {
  await assert.rejects(promise, (error) => error.message.includes(text), `an error that says '${text}'`);
  checks += 1;
}

async function stringsAndKeys(client) {
  check(await client.set('a', '1'), 'OK');
  check(await client.get('a'), '1');
  check(await client.get('none'), null);
  check(await client.set('a', '2', { condition: 'NX' }), null);
  check(await client.set('a', '2', { GET: true }), '1');
  check(await client.set('t', 'x', { expiration: { type: 'PX', value: 100_000 } }), 'OK');
  const left = await client.pTTL('t');
  check(left > 99_000 && left <= 100_000, true);
  check(await client.getDel('t'), 'x');
  check(await client.mSet({ m1: '1', m2: 'zwei €' }), 'OK');
  check(await client.mGet(['m1', 'none', 'm2']), ['1', null, 'zwei €']);
  check(await client.incrBy('n', 5), 5);
  check(await client.exists(['a', 'a', 'none']), 2);
  check((await client.keys('m*')).sort(), ['m1', 'm2']);
  const seen = new Set();
  for await (const keys of client.scanIterator({ COUNT: 1 })) keys.forEach((key) => seen.add(key));
  check([...seen].sort(), ['a', 'm1', 'm2', 'n']);
  check(await client.del('a'), 1);
  await refuses('not an integer', client.incr('m2'));
  await refuses('unknown command', client.sendCommand(['NOSUCH', 'a']));
}

async function pipelines(client) {
  // Commands of one tick leave in one write.
  const replies = await Promise.all(Array.from({ length: 1000 }, (_, n) => client.set(`p${n}`, `${n}`)));
  check(replies.every((reply) => reply === 'OK'), true);
  check(await client.get('p999'), '999');
}

async function transactions(client, other) {
  check(await client.multi().set('n', '1').incr('n').get('n').exec(), ['OK', 2, '2']);
  await client.watch('n');
  await other.set('n', '7');
  await assert.rejects(client.multi().set('n', '8').exec(), WatchError);
  check(await client.get('n'), '7');
  await refuses('unknown command', client.multi().set('n', '9').addCommand(['NOSUCH']).exec());
  check(await client.get('n'), '7');
}

async function pool(options) {
  const many = await createClientPool(options, { minimum: 4, maximum: 4 }).connect();
  await many.del('shared');
  await Promise.all(Array.from({ length: 400 }, () => many.incr('shared')));
  check(await many.get('shared'), '400');
  await many.close();
}

for (const RESP of [2, 3]) {
  const options = { RESP, socket: { port: Number(port), reconnectStrategy: false }, name: 'checks', database: 5 };
  const client = await createClient(options).connect();
  const other = await createClient(options).connect();
  await client.flushDb();
  await stringsAndKeys(client);
  await pipelines(client);
  await transactions(client, other);
  check(await client.clientGetName(), 'checks');
  check((await client.clientInfo()).libName.startsWith('node-redis'), true);
  await pool(options);
  await client.flushDb();
  await client.close();
  other.destroy();
}
console.log(`node-redis ${version}: ${checks} checks passed`);
