// node-redis over RESP3 on three nodes of which one is killed: counters, a listener, a cache in the client and a stream's group.
// Usage: node node_redis_cluster.mjs TAG MODULES PORTS CLUSTER_PORTS
import { check, cluster, insist, load, run, versionOf, within } from './support.mjs';

const { BasicClientSideCache, createClient } = load('redis');
const { tag, ports, state, killed, half } = cluster();
const met = {};
const connect = (port, more = {}) => createClient({ RESP: 3, unstableResp3: true, socket: { host: '127.0.0.1', port }, ...more })
  .on('error', () => {}).connect();

// Writes by one node, reads by the other: what was answered is read at once, through a cache soon.
async function counters() {
  const [writer, reader] = [await connect(ports[0]), await connect(ports[1])];
  const cache = new BasicClientSideCache({ maxEntries: 100, ttl: 0 });
  const cached = await connect(ports[1], { clientSideCache: cache });
  const key = `${tag}:n`;
  let [kept, sent, after] = [0, 0, 0];
  for (let n = 0; after < 200; n++, after += state.killed) {
    try {
      sent += 1;
      kept = await writer.incr(key);
      const read = Number(await reader.get(key));
      if (read < kept || read > sent) throw new Error(`LOST ${read} read after ${kept} of ${sent}`);
      await cached.get(key);
    } catch (error) {
      if (error.message.startsWith('LOST')) throw error;
      const word = error.message.split(' ')[0];
      met[word] = (met[word] ?? 0) + 1;
    }
    if (n === 100) half();
  }
  // The cache follows without another write: the last invalidation comes.
  const last = await insist(() => reader.get(key));
  await within(10, 'the cache', (async () => { while (await insist(() => cached.get(key)) !== last) await reader.ping(); })());
  check(Number(last) >= kept, true);
}

// Published at one surviving node, heard at the other, in order and without a gap.
async function listening() {
  const [teller, listener] = [await connect(ports[0]), await connect(ports[1])];
  const heard = [];
  await listener.subscribe(`${tag}:news`, (message) => heard.push(Number(message)));
  let [told, after] = [0, 0];
  while (after < 100) {
    await insist(() => teller.publish(`${tag}:news`, String(told)), met);
    told += 1;
    after += state.killed;
  }
  await within(10, 'the last message', (async () => { while (heard.at(-1) !== told - 1) await listener.ping(); })());
  check(heard.length >= told, true, `${heard.length} of ${told} heard`);
}

// Entries that were acknowledged to their producer reach the group: read, or claimed by who comes after.
async function group() {
  const [producer, consumer] = [await connect(ports[0]), await connect(ports[1])];
  const key = `${tag}:st`;
  await producer.xGroupCreate(key, 'g', '$', { MKSTREAM: true });
  const [added, seen] = [new Set(), new Map()];
  let all = false;
  const consume = async () => {
    while (!all || [...added].some((id) => !seen.has(id))) {
      try {
        const read = await consumer.xReadGroup('g', 'one', { key, id: '>' }, { COUNT: 10, BLOCK: 200 });
        const claimed = await consumer.sendCommand(['XAUTOCLAIM', key, 'g', 'one', '500', '0']);
        for (const [id] of [...(read?.[key] ?? []), ...claimed[1]]) {
          seen.set(id, (seen.get(id) ?? 0) + 1);
          await consumer.xAck(key, 'g', id);
        }
      } catch (error) {
        const word = error.message.split(' ')[0];
        met[word] = (met[word] ?? 0) + 1;
      }
    }
  };
  const produce = async () => {
    for (let after = 0; after < 200; after += state.killed) added.add(await insist(() => producer.xAdd(key, '*', { n: '1' }), met));
    all = true;
  };
  await Promise.all([produce(), within(50, 'all entries', consume())]);
  check([...added].every((id) => seen.has(id)), true);
}

await run(`node-redis ${versionOf('redis')} RESP3 on a cluster`, [() => Promise.all([counters(), listening(), group(), killed])], 60);
