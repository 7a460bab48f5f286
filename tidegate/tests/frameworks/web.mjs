// What web applications keep in Redis, unmodified: sessions of express by connect-redis, limits by rate-limiter-flexible, and
// locks by redlock. Usage: node web.mjs HOST PORT MODULES
import { once } from 'node:events';
import { createServer } from 'node:http';
import { check, host, load, port, refuses, run, versionOf } from './support.mjs';

const { createClient } = load('redis');
const { Redis } = load('ioredis');
const express = load('express');
const session = load('express-session');
const { RedisStore } = load('connect-redis');
const limits = load('rate-limiter-flexible');
const { default: Redlock } = load('redlock');
const io = new Redis({ host, port });
const clients = [];

async function nodeRedis(RESP) {
  const client = await createClient({ RESP, socket: { host, port, reconnectStrategy: false } }).connect();
  clients.push(client);
  return client;
}

// Two servers that share their sessions, as behind a balancer.
async function sessions() {
  await io.flushall();
  const store = new RedisStore({ client: await nodeRedis(3), prefix: 'sess:', ttl: 100 });
  const serve = async () => {
    const app = express();
    app.use(session({ store, secret: 's', resave: false, saveUninitialized: false, rolling: true }));
    app.get('/login/:name', (request, response) => { request.session.user = request.params.name; response.send('in'); });
    app.get('/count', (request, response) => {
      request.session.count = (request.session.count ?? 0) + 1;
      response.json({ user: request.session.user, count: request.session.count });
    });
    app.get('/logout', (request, response, next) => request.session.destroy((error) => (error ? next(error) : response.send('out'))));
    const server = createServer(app).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return server;
  };
  const servers = [await serve(), await serve()];
  const get = (n, path, cookie) => fetch(`http://127.0.0.1:${servers[n % 2].address().port}${path}`, { headers: cookie ? { cookie } : {} });
  const cookies = [];
  for (let n = 0; n < 20; n++) {
    const answer = await get(n, `/login/user${n}`);
    check(await answer.text(), 'in');
    cookies.push(answer.headers.get('set-cookie').split(';')[0]);
  }
  for (let round = 1; round <= 3; round++) {
    const answers = await Promise.all(cookies.map((cookie, n) => get(n + round, '/count', cookie).then((answer) => answer.json())));
    check(answers, cookies.map((_, n) => ({ user: `user${n}`, count: round })));
  }
  check(new Set(await io.keys('sess:*')).size, 20);
  const left = await io.ttl((await io.keys('sess:*'))[0]);
  check(left > 90 && left <= 100, true, `time to live ${left}`);
  const calls = (name, ...args) => new Promise((done, failed) => store[name](...args, (error, value) => (error ? failed(error) : done(value))));
  check(await calls('length'), 20);
  check((await calls('all')).map(({ user }) => user).sort(), cookies.map((_, n) => `user${n}`).sort());
  check(await (await get(1, '/logout', cookies[0])).text(), 'out');
  check(await (await get(0, '/count', cookies[0])).json(), { count: 1 });
  await calls('clear');
  check(await calls('length'), 0);
  servers.forEach((server) => server.close().closeAllConnections());
}

// 100 callers at once of two processes' worth of limiters: exactly as many pass as may.
async function rateLimits() {
  const options = { keyPrefix: 'limit', points: 30, duration: 60 };
  const one = new limits.RateLimiterRedis({ ...options, storeClient: io });
  const two = new limits.RateLimiterRedis({ ...options, storeClient: await nodeRedis(2), useRedisPackage: true });
  const answers = await Promise.allSettled(Array.from({ length: 100 }, (_, n) => (n % 2 ? one : two).consume('caller')));
  check(answers.filter(({ status }) => status === 'fulfilled').length, 30);
  const refused = answers.filter(({ status }) => status === 'rejected').map(({ reason }) => reason);
  check(refused.every(({ remainingPoints, msBeforeNext }) => remainingPoints === 0 && msBeforeNext > 50_000 && msBeforeNext <= 60_000), true);
  check(new Set(answers.filter(({ status }) => status === 'fulfilled').map(({ value }) => value.consumedPoints)).size, 30);
  check((await two.get('caller')).consumedPoints, 100);
  check((await one.reward('caller', 5)).consumedPoints, 95);
  check((await one.penalty('other', 2)).consumedPoints, 2);
  check(await one.delete('caller'), true);
  check((await one.consume('caller')).remainingPoints, 29);
  await one.block('caller', 100);
  await assertRefused(two.consume('caller'), 90_000);
}

// Bursts on top of a limit, a queue that waits for its turn, and a short window that ends.
async function moreLimits() {
  const short = new limits.RateLimiterRedis({ storeClient: io, keyPrefix: 'short', points: 2, duration: 1 });
  const burst = new limits.BurstyRateLimiter(
    short, new limits.RateLimiterRedis({ storeClient: io, keyPrefix: 'burst', points: 3, duration: 60 }));
  const answers = await Promise.allSettled(Array.from({ length: 7 }, () => burst.consume('x')));
  check(answers.filter(({ status }) => status === 'fulfilled').length, 5);
  const queue = new limits.RateLimiterQueue(new limits.RateLimiterRedis({ storeClient: io, keyPrefix: 'queue', points: 2, duration: 1 }));
  const started = performance.now();
  check((await Promise.all([1, 2, 3, 4].map(() => queue.removeTokens(1, 'x')))).length, 4);
  check(performance.now() - started >= 900, true, 'the second two wait for the next window');
}

async function assertRefused(promise, least) {
  const reason = await promise.then(() => null, (refusal) => refusal);
  check(reason instanceof limits.RateLimiterRes && reason.msBeforeNext > least, true);
}

// One holder at a time; a lock is extended, released, lost by time, and never released by who lost it.
async function locks() {
  const redlock = new Redlock([io], { retryCount: 0 });
  const patient = new Redlock([new Redis({ host, port })], { retryCount: 100, retryDelay: 20, retryJitter: 10 });
  const lock = await redlock.acquire(['lock:a', 'lock:b'], 10_000);
  await refuses('unable to achieve a quorum', redlock.acquire(['lock:b'], 1000));
  const longer = await lock.extend(20_000);
  check(await io.pttl('lock:a') > 15_000, true);
  const next = patient.acquire(['lock:a'], 10_000);
  await longer.release();
  await (await next).release();
  check(await io.exists('lock:a', 'lock:b'), 0);
  const lost = await redlock.acquire(['lock:c'], 50);
  await (await patient.acquire(['lock:c'], 10_000)).extend(10_000);
  await refuses('unable to achieve a quorum', lost.release());
  check(await io.exists('lock:c'), 1);
  // Twenty that read, wait and write: without the lock most counts would be lost.
  const own = new Redis({ host, port });
  await Promise.all(Array.from({ length: 20 }, () => patient.using(['lock:count'], 5000, async (signal) => {
    const seen = Number(await io.get('count'));
    await own.ping();
    check(signal.aborted, false);
    await own.set('count', seen + 1);
  })));
  check(await io.get('count'), '20');
}

const names = ['express-session', 'connect-redis', 'rate-limiter-flexible', 'redlock'];
await run(names.map((name) => `${name} ${versionOf(name)}`).join(', '), [sessions, rateLimits, moreLimits, locks]);
