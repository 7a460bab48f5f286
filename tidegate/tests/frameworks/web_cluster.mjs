// Sessions, limits and locks on three nodes of which one is killed: what was answered is kept, no limit is exceeded, no two hold
// one lock. Usage: node web_cluster.mjs TAG MODULES PORTS CLUSTER_PORTS
import { once } from 'node:events';
import { createServer } from 'node:http';
import { check, cluster, insist, load, run } from './support.mjs';

const { createClient } = load('redis');
const { Redis } = load('ioredis');
const express = load('express');
const session = load('express-session');
const { RedisStore } = load('connect-redis');
const { RateLimiterRedis, RateLimiterRes } = load('rate-limiter-flexible');
const { default: Redlock } = load('redlock');
const { tag, ports, state, killed, half } = cluster();
const met = {};
const host = '127.0.0.1';
const redis = (port) => new Redis({ host, port, maxRetriesPerRequest: null }).on('error', () => {});

// A server per surviving node; each session counts its requests.
async function sessions() {
  const servers = [];
  for (const port of ports) {
    const client = await createClient({ socket: { host, port } }).on('error', () => {}).connect();
    const app = express();
    const store = new RedisStore({ client, prefix: `${tag}:sess:` });
    app.use(session({ store, secret: 's', resave: false, saveUninitialized: false }));
    app.get('/', (request, response, next) => {
      request.session.count = (request.session.count ?? 0) + 1;
      // Saved before the answer: express-session by itself sends the answer although saving failed.
      request.session.save((error) => (error ? next(error) : response.json(request.session.count)));
    });
    app.use((error, request, response, next) => { if (!response.headersSent) response.status(503).send(error.message); });
    const server = createServer(app).listen(0, host);
    await once(server, 'listening');
    servers.push(server);
  }
  const visit = async (n, cookie) => {
    const answer = await fetch(`http://${host}:${servers[n % 2].address().port}/`, { headers: cookie ? { cookie } : {} });
    if (answer.status !== 200) throw new Error(await answer.text());
    return [await answer.json(), answer.headers.get('set-cookie')?.split(';')[0]];
  };
  await Promise.all(Array.from({ length: 10 }, async (_, user) => {
    const [, cookie] = await insist(() => visit(user), met);
    let [kept, sent] = [1, 1];
    for (let n = 0, after = 0; after < 20; n++, after += state.killed) {
      try {
        sent += 1;
        const [count] = await visit(n, cookie);
        if (!(kept < count && count <= sent)) throw new Error(`LOST session ${user}: ${count} after ${kept} of ${sent}`);
        kept = count;
      } catch (error) {
        if (error.message.startsWith('LOST')) throw error;
        const word = error.message.split(' ')[0];
        met[word] = (met[word] ?? 0) + 1;
      }
    }
  }));
  servers.forEach((server) => server.close().closeAllConnections());
}

// Callers without end, at both nodes: those that pass are at most the points.
async function rateLimit() {
  const made = ports.map((port) => new RateLimiterRedis({ storeClient: redis(port), keyPrefix: tag, points: 500, duration: 600 }));
  let [passed, refused, after] = [0, 0, 0];
  for (let n = 0; after < 100; n++, after += state.killed) {
    await Promise.all(made.map((limiter) => limiter.consume('all').then(() => { passed += 1; }, (reason) => {
      if (reason instanceof RateLimiterRes) refused += 1;
      else met[reason.message.split(' ')[0]] = (met[reason.message.split(' ')[0]] ?? 0) + 1;
    })));
    if (n === 50) half();
  }
  const { consumedPoints } = await insist(() => made[0].get('all'), met);
  check(passed <= 500 && passed + refused <= consumedPoints, true, `${passed} passed, ${refused} were refused, ${consumedPoints} counted`);
}

// Ten at two nodes want one lock: never two have it, and after the death it's had again.
async function locks() {
  let [holders, had, after] = [0, 0, 0];
  await Promise.all(Array.from({ length: 10 }, async (_, n) => {
    const redlock = new Redlock([redis(ports[n % 2])], { retryCount: 0 });
    while (after < 10) {
      const lock = await redlock.acquire([`${tag}:lock`], 3000).catch(() => null);
      if (!lock) {
        await new Promise((again) => setTimeout(again, 10));
        continue;
      }
      holders += 1;
      if (holders !== 1) throw new Error(`${holders} hold the lock`);
      await new Promise((done) => setTimeout(done, 5));
      had += 1;
      after += state.killed;
      holders -= 1;
      // An error leaves the lock to its time.
      await lock.release().catch(() => {});
    }
  }));
  check(had >= 10, true);
}

await run('sessions, limits and locks on a cluster', [() => Promise.all([sessions(), rateLimit(), locks(), killed])], 60);
