// ioredis, unmodified: pipelines, transactions, key prefixes, scripts as commands, scan streams, pub/sub, blocking, streams.
// Usage: node ioredis.mjs HOST PORT MODULES
import { once } from 'node:events';
import { Tally, check, host, load, port, refuses, run, versionOf, within } from './support.mjs';

const { Redis } = load('ioredis');
const connect = (more = {}) => new Redis({ host, port, maxRetriesPerRequest: null, ...more });
const client = connect();

// Until the connection with this id waits in a blocking command.
const blocked = (id) => within(10, 'a waiter', (async () => {
  while (!(await client.client('LIST', 'ID', id)).includes('flags=b')) await client.ping();
})());

async function pipelines() {
  await client.flushall();
  const pipeline = client.pipeline();
  for (let n = 0; n < 500; n++) pipeline.set(`k:${n}`, n).incr(`k:${n}`);
  const replies = await pipeline.exec();
  check(replies.map(([error, reply]) => error ?? reply), Array.from({ length: 500 }, (_, n) => ['OK', n + 1]).flat());
  const mixed = await client.pipeline().set('s', 'x').incr('s').lpush('s', 1).get('s').exec();
  check(mixed.map(([error, reply]) => error?.message ?? reply), ['OK', 'ERR value is not an integer or out of range',
    'WRONGTYPE Operation against a key holding the wrong kind of value', 'x']);
  const automatic = connect({ enableAutoPipelining: true });
  check(await Promise.all(Array.from({ length: 300 }, (_, n) => automatic.get(`k:${n}`))), Array.from({ length: 300 }, (_, n) => `${n + 1}`));
  automatic.disconnect();
}

async function transactions() {
  check(await client.multi().set('t', 1).incr('t').hset('th', { a: 1, b: 2 }).hgetall('th').exec(),
    [[null, 'OK'], [null, 2], [null, 2], [null, { a: '1', b: '2' }]]);
  const other = connect();
  await client.watch('t');
  await other.set('t', 7);
  check(await client.multi().set('t', 8).exec(), null);
  await refuses('EXECABORT', client.multi().set('t').exec());
  other.disconnect();
}

async function prefixesAndScripts() {
  const app = connect({ keyPrefix: 'app:' });
  app.defineCommand('cas', { numberOfKeys: 1, lua: `
    if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) return 1 end
    return 0` });
  await app.mset({ a: 1, b: 2 });
  check(await client.keys('app:*').then((keys) => keys.sort()), ['app:a', 'app:b']);
  check([await app.cas('a', 1, 5), await app.cas('a', 1, 6), await app.get('a')], [1, 0, '5']);
  check(await app.pipeline().cas('a', 5, 7).get('a').exec(), [[null, 1], [null, '7']]);
  await client.script('FLUSH');
  check(await app.cas('a', 7, 8), 1);
  check((await app.sort('none')).length, 0);
  await refuses('my own', client.eval("return redis.error_reply('ERR my own')", 0));
  check(await client.eval("return cjson.encode({n = 1, list = {1, 2, 'x'}})", 0).then(JSON.parse), { n: 1, list: [1, 2, 'x'] });
  app.disconnect();
}

async function scans() {
  const found = new Set();
  for await (const keys of client.scanStream({ match: 'k:*', count: 50 })) keys.forEach((key) => found.add(key));
  check(found.size, 500);
  await client.zadd('z', ...Array.from({ length: 1000 }, (_, n) => [n, `m${n}`]).flat());
  const members = new Map();
  for await (const pairs of client.zscanStream('z', { count: 100 })) for (let n = 0; n < pairs.length; n += 2) members.set(pairs[n], pairs[n + 1]);
  check([members.size, members.get('m999')], [1000, '999']);
  check((await client.zrange('z', 10, 12, 'REV', 'WITHSCORES')), ['m989', '989', 'm988', '988', 'm987', '987']);
}

async function listening() {
  const listener = connect();
  const [heard, all] = [[], new Tally()];
  listener.on('message', (channel, message) => { heard.push(message); all.add(heard.length); });
  listener.on('pmessage', (pattern, channel, message) => { heard.push(`${pattern} ${message}`); all.add(heard.length); });
  check(await listener.subscribe('a', 'b'), 2);
  check(await listener.psubscribe('c*'), 3);
  await refuses('subscriber mode', listener.get('x'));
  for (let n = 0; n < 100; n++) await client.publish(['a', 'b', 'cc'][n % 3], `${n}`);
  await within(10, '100 messages', all.reached(100));
  check(heard, Array.from({ length: 100 }, (_, n) => (n % 3 === 2 ? `c* ${n}` : `${n}`)));
  const gone = once(listener, 'close');
  const back = once(listener, 'ready');
  await client.client('KILL', 'TYPE', 'pubsub');
  await gone;
  await within(10, 'the new connection', back);
  // It subscribes again by itself.
  await within(10, 'the subscription', (async () => { while (await client.publish('a', 'again') !== 1) await client.ping(); })());
  await within(10, 'the message', all.reached(101));
  listener.disconnect();
}

async function blocking() {
  const waiters = [connect(), connect()];
  const ids = await Promise.all(waiters.map((waiter) => waiter.client('ID')));
  const pops = waiters.map((waiter) => waiter.brpop('q', 20));
  for (const id of ids) await blocked(id);
  await client.lpush('q', 'a', 'b');
  check((await within(10, 'both pops', Promise.all(pops))).map(([, value]) => value).sort(), ['a', 'b']);
  const popped = waiters[0].blmpop(20, 2, 'none', 'many', 'LEFT', 'COUNT', 3);
  await blocked(ids[0]);
  await client.rpush('many', 1, 2, 3, 4);
  check(await within(10, 'BLMPOP', popped), ['many', ['1', '2', '3']]);
  const woken = waiters[0].blpop('never', 0);
  await blocked(ids[0]);
  check(await client.client('UNBLOCK', ids[0]), 1);
  check(await within(10, 'UNBLOCK', woken), null);
  waiters.forEach((waiter) => waiter.disconnect());
}

// A producer and two consumers of a group: each entry is read once, and none is left.
async function groups() {
  await client.xgroup('CREATE', 'events', 'g', '$', 'MKSTREAM');
  const all = new Tally();
  const consumers = [1, 2].map(async (name) => {
    const own = connect();
    while (all.counts.size < 200) {
      const read = await own.xreadgroup('GROUP', 'g', name, 'COUNT', 10, 'BLOCK', 200, 'STREAMS', 'events', '>');
      for (const [id, fields] of read?.[0][1] ?? []) {
        all.add(fields[1]);
        await own.xack('events', 'g', id);
      }
    }
    own.disconnect();
  });
  for (let n = 0; n < 200; n++) await client.xadd('events', 'MAXLEN', '~', 1000, '*', 'n', n);
  await within(10, '200 entries', Promise.all(consumers));
  check([all.counts.size, all.most], [200, 1]);
  check((await client.xpending('events', 'g'))[0], 0);
}

await run(`ioredis ${versionOf('ioredis')}`, [pipelines, transactions, prefixesAndScripts, scans, listening, blocking, groups]);
