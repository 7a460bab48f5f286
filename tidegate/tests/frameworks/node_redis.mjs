// node-redis, unmodified, over RESP3: all types, blocking, streams with groups, pub/sub beside commands, client-side caching,
// scripts and functions. Usage: node node_redis.mjs HOST PORT MODULES
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Tally, check, host, load, port, refuses, run, versionOf, within } from './support.mjs';

const { BasicClientSideCache, createClient, createClientPool, defineScript, ErrorReply } = load('redis');
const open = [];
// Over RESP3 the library hands on what reads of streams give as it comes: a map of lists.
const entries = (read, key) => { assert.deepEqual(Object.keys(read), [key]); return read[key]; };

async function connect(more = {}) {
  const client = createClient({ RESP: 3, unstableResp3: true, socket: { host, port, reconnectStrategy: false }, ...more });
  client.on('error', () => {});
  await client.connect();
  open.push(client);
  return client;
}

const client = await connect();

async function types() {
  await client.flushAll();
  check(await client.hSet('h', { a: '1', b: 'zwei' }), 2);
  check({ ...(await client.hGetAll('h')) }, { a: '1', b: 'zwei' });
  check(await client.hIncrByFloat('h', 'a', 0.5), '1.5');
  check(await client.hRandFieldCountWithValues('h', 5).then((all) => all.map(({ field }) => field).sort()), ['a', 'b']);
  check(await client.sAdd('s', ['x', 'y', 'z']), 3);
  check([...(await client.sMembers('s'))].sort(), ['x', 'y', 'z']);
  check(await client.smIsMember('s', ['x', 'q']), [1, 0]);
  check(await client.zAdd('z', [{ score: 1, value: 'a' }, { score: 2.5, value: 'b' }, { score: Infinity, value: 'c' }]), 3);
  check(await client.zScore('z', 'b'), 2.5);
  check(await client.zRangeWithScores('z', 0, -1), [
    { value: 'a', score: 1 }, { value: 'b', score: 2.5 }, { value: 'c', score: Infinity }]);
  check(await client.zPopMin('z'), { value: 'a', score: 1 });
  check(await client.rPush('l', ['1', '2', '3']), 3);
  check(await client.lRange('l', 0, -1), ['1', '2', '3']);
  check(await client.lmPop('l', 'LEFT', { COUNT: 2 }), ['l', ['1', '2']]);
  check(await client.pfAdd('p', ['a', 'b', 'c']), 1);
  check(await client.pfCount('p'), 3);
  check(await client.setBit('bits', 7, 1), 0);
  check(await client.bitCount('bits'), 1);
  check(await client.geoAdd('g', [{ longitude: 13.361389, latitude: 38.115556, member: 'Palermo' },
    { longitude: 15.087269, latitude: 37.502669, member: 'Catania' }]), 2);
  check(await client.geoDist('g', 'Palermo', 'Catania', 'km'), 166.2742);
  const seen = new Set();
  for await (const entries of client.hScanIterator('h')) [entries].flat().forEach(({ field }) => seen.add(field));
  check(seen, new Set(['a', 'b']));
  await refuses('WRONGTYPE', client.lPush('h', 'x'));
}

// Poppers wait, on several keys, in the order of their coming.
async function blocking() {
  const waiters = [await connect(), await connect(), await connect()];
  const ids = await Promise.all(waiters.map((waiter) => waiter.clientId()));
  const pops = [];
  for (const [n, waiter] of waiters.entries()) {
    pops.push(waiter.blPop(['q:a', 'q:b'], 20));
    // The next asks when this one waits: it is seen as blocked by others.
    await within(10, 'a waiter', (async () => {
      while (!(await client.sendCommand(['CLIENT', 'LIST', 'ID', String(ids[n])])).includes('flags=b')) await client.ping();
    })());
  }
  await client.rPush('q:b', 'first');
  await client.rPush('q:a', ['second', 'third']);
  check(await within(10, 'the pops', Promise.all(pops)), [
    { key: 'q:b', element: 'first' }, { key: 'q:a', element: 'second' }, { key: 'q:a', element: 'third' }]);
  const moved = waiters[0].blMove('from', 'to', 'LEFT', 'RIGHT', 20);
  const smallest = waiters[1].bzPopMin('zq', 20);
  await client.multi().rPush('from', 'x').zAdd('zq', [{ score: 2, value: 'b' }, { score: 1, value: 'a' }]).exec();
  check(await within(10, 'BLMOVE', moved), 'x');
  check(await within(10, 'BZPOPMIN', smallest), { key: 'zq', value: 'a', score: 1 });
  check(await waiters[2].blPop('nothing', 0.05), null);
}

async function streams() {
  for (let n = 0; n < 10; n++) await client.xAdd('st', `${n + 1}-0`, { n: `${n}` });
  check(await client.xGroupCreate('st', 'g', '0'), 'OK');
  check(entries(await client.xReadGroup('g', 'one', { key: 'st', id: '>' }, { COUNT: 4 }), 'st'),
    [0, 1, 2, 3].map((n) => [`${n + 1}-0`, ['n', `${n}`]]));
  check(await client.xAck('st', 'g', ['1-0', '2-0']), 2);
  check((await client.xPending('st', 'g')).pending, 2);
  const claimed = await client.xAutoClaim('st', 'g', 'two', 0, '0-0');
  check(claimed.messages.map(({ id }) => id), ['3-0', '4-0']);
  const reader = await connect();
  const next = reader.xRead({ key: 'st', id: '$' }, { BLOCK: 20_000 });
  await within(10, 'a reader that waits', (async () => {
    while (!(await client.sendCommand(['CLIENT', 'LIST'])).includes('cmd=xread')) await client.ping();
  })());
  await client.xAdd('st', '99-1', { n: 'new' });
  check(entries(await within(10, 'XREAD', next), 'st'), [['99-1', ['n', 'new']]]);
  const info = await client.xInfoStream('st');
  check([info.length, info.groups, info['last-generated-id']], [11, 1, '99-1']);
  check((await client.xInfoGroups('st')).map(({ name, pending, lag }) => [name, pending, lag]), [['g', 2, 7]]);
  check(await client.xTrim('st', 'MAXLEN', 3), 8);
}

// Over RESP3 one connection subscribes and commands at once.
async function listening() {
  const [heard, listener] = [[], await connect()];
  const all = new Tally();
  const hear = (message, channel) => { heard.push([channel, message]); all.add(heard.length); };
  await listener.subscribe('news', hear);
  await listener.pSubscribe('n?ws*', hear);
  await listener.sSubscribe('{s}hard', hear);
  check(await listener.set('while', 'subscribed'), 'OK');
  check(await listener.get('while'), 'subscribed');
  check(await client.publish('news', 'one'), 2);
  check(await client.publish('nuws', 'two'), 1);
  check(await client.sPublish('{s}hard', 'three'), 1);
  await within(10, 'four messages', all.reached(4));
  check(heard.filter(([channel]) => channel !== '{s}hard'), [['news', 'one'], ['news', 'one'], ['nuws', 'two']]);
  check(heard.filter(([channel]) => channel === '{s}hard'), [['{s}hard', 'three']]);
  check({ ...(await client.pubSubNumSub(['news', 'none'])) }, { news: 1, none: 0 });
  await listener.unsubscribe('news');
  await listener.pUnsubscribe();
  await listener.sUnsubscribe();
  check(await client.publish('news', 'none hears'), 0);
}

// A cache in the client: hits don't ask, and what others change is forgotten.
async function caching() {
  const cache = new BasicClientSideCache({ maxEntries: 100, ttl: 0 });
  const cached = await connect({ clientSideCache: cache });
  await client.set('c', '1');
  for (let n = 0; n < 10; n++) check(await cached.get('c'), '1');
  check([cache.stats().missCount, cache.stats().hitCount], [1, 9]);
  const forgotten = once(cache, 'invalidate');
  await client.set('c', '2');
  check((await within(10, 'the push', forgotten))[0].toString(), 'c');
  check(await cached.get('c'), '2');
  await client.hSet('ch', 'f', '1');
  check(await cached.hGet('ch', 'f'), '1');
  const gone = once(cache, 'invalidate');
  await client.del('ch');
  await within(10, 'the push of a deletion', gone);
  check(await cached.hGet('ch', 'f'), null);
  const flushed = once(cache, 'invalidate');
  await client.flushAll();
  await within(10, 'the push of FLUSHALL', flushed);
  check(await cached.get('c'), null);
}

async function scripts() {
  const take = defineScript({
    SCRIPT: `local left = tonumber(redis.call('GET', KEYS[1]) or '0')
      if left < tonumber(ARGV[1]) then return redis.error_reply('SOLDOUT only ' .. left) end
      return redis.call('DECRBY', KEYS[1], ARGV[1])`,
    NUMBER_OF_KEYS: 1,
    parseCommand(parser, key, count) { parser.pushKey(key); parser.push(String(count)); },
    transformReply: undefined,
  });
  const seller = await connect({ scripts: { take } });
  await client.set('stock', '10');
  const answers = await Promise.allSettled(Array.from({ length: 12 }, () => seller.take('stock', 1)));
  check(answers.filter(({ status }) => status === 'fulfilled').map(({ value }) => value), [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
  check(answers[11].reason instanceof ErrorReply && answers[11].reason.message, 'SOLDOUT only 0');
  check(await client.eval("return {KEYS[1], ARGV[1], 3, false}", { keys: ['k'], arguments: ['a'] }), ['k', 'a', 3, null]);
  const sha = await client.scriptLoad('redis.setresp(3); return {double=3.5}');
  check(await client.evalSha(sha), 3.5);
  check(await client.scriptExists([sha, '0'.repeat(40)]), [1, 0]);
  await client.functionLoad("#!lua name=lib\nredis.register_function('plus', function(keys, args) return redis.call('INCRBY', keys[1], args[1]) end)", { REPLACE: true });
  check(await client.fCall('plus', { keys: ['n'], arguments: ['5'] }), 5);
  check((await client.functionList()).map(({ library_name }) => library_name), ['lib']);
  check(await client.functionDelete('lib'), 'OK');
}

async function pools() {
  const pool = await createClientPool({ RESP: 3, socket: { host, port } }, { minimum: 4, maximum: 4 }).connect();
  await Promise.all(Array.from({ length: 400 }, () => pool.multi().incr('shared').hIncrBy('shared:h', 'n', 1).exec()));
  check([await pool.get('shared'), await pool.hGet('shared:h', 'n')], ['400', '400']);
  await pool.close();
  for (const one of open) one.destroy();
}

const parts = [types, blocking, streams, listening, caching, scripts, pools];
await run(`node-redis ${versionOf('redis')} RESP3`, parts);
