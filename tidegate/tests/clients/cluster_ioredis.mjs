// ioredis' Cluster against the cluster endpoint, unmodified: writes and reads until stdin ends, while somebody kills nodes;
// then every acknowledged write must be there. Prints what it met, for people.
// Usage: node cluster_ioredis.mjs PREFIX_OF_NODE_MODULES PORT.. < (a pipe that is closed when it is enough)
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import path from 'node:path';

const [home, ...ports] = process.argv.slice(2);
const { Cluster } = createRequire(path.resolve(home, 'package.json'))('ioredis');
const WRITERS = 6;

function connect() {
  const cluster = new Cluster(ports.map((port) => ({ host: '127.0.0.1', port: Number(port) })));
  // Without a listener, errors of single connections end the process; the cluster goes on by itself.
  cluster.on('error', () => {});
  return cluster;
}

async function shapes(cluster) {
  for (let n = 0; n < 100; n++) assert.equal(await cluster.set(`io:shape:${n}`, n), 'OK');
  for (let n = 0; n < 100; n++) assert.equal(await cluster.get(`io:shape:${n}`), String(n));
  assert.deepEqual(await cluster.mget('{io}1', '{io}2'), [null, null]);
  await assert.rejects(cluster.mget('a', 'b'), /CROSSSLOT/);
  assert.deepEqual(await cluster.multi().incr('{io}n').incr('{io}n').exec(), [[null, 1], [null, 2]]);
  let keys = 0;
  for (const node of cluster.nodes('master')) {
    keys += (await node.keys('io:shape:*')).length;
  }
  assert.equal(keys, 100);
}

async function write(cluster, number, state) {
  const key = `io:${number}`;
  const writer = { key, sent: 0, acknowledged: 0, sinceError: 0, worst: 0, errors: {} };
  let last = performance.now();
  while (!state.stop) {
    writer.sent += 1;
    try {
      assert.equal(await cluster.set(key, writer.sent), 'OK');
      writer.acknowledged = writer.sent;
      const now = performance.now();
      writer.worst = Math.max(writer.worst, now - last);
      last = now;
      writer.sinceError += 1;
      assert.equal(await cluster.get(key), String(writer.sent));
    } catch (error) {
      if (error.code === 'ERR_ASSERTION') throw error;
      const name = error.message.split(' ')[0];
      writer.errors[name] = (writer.errors[name] ?? 0) + 1;
      writer.sinceError = 0;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  return writer;
}

const cluster = connect();
await shapes(cluster);
const state = { stop: false };
const writers = Array.from({ length: WRITERS }, (_, number) => write(connect(), number, state));
console.log('started');
for await (const _ of process.stdin);
state.stop = true;
const [errors, done] = [{}, await Promise.all(writers)];
for (const { key, sent, acknowledged, sinceError, errors: met } of done) {
  const found = Number(await connect().get(key));
  assert.ok(acknowledged <= found && found <= sent, `${key}: ${acknowledged} ${found} ${sent}`);
  assert.ok(sinceError >= 50, `${key} did not recover: ${sinceError} after ${JSON.stringify(met)}`);
  for (const [name, count] of Object.entries(met)) errors[name] = (errors[name] ?? 0) + count;
}
const total = done.reduce((sum, writer) => sum + writer.acknowledged, 0);
const worst = Math.max(...done.map((writer) => writer.worst)) / 1000;
console.log(
  `ioredis: ${total} writes acknowledged, none lost; the worst writer waited ${worst.toFixed(3)} s; ` +
    `errors: ${JSON.stringify(errors)}`,
);
process.exit(0);
