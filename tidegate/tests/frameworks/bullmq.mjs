// BullMQ, unmodified: jobs, order, priorities, delays, retries with backoff, flows, schedules, events, limits, and jobs of
// workers that were killed. Usage: node bullmq.mjs HOST PORT MODULES
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Tally, check, host, load, modules, port, refuses, run, versionOf, within } from './support.mjs';

const { FlowProducer, Queue, QueueEvents, UnrecoverableError, Worker } = load('bullmq');
const { Redis } = load('ioredis');
const prefix = '{q}';
const connection = { host, port, maxRetriesPerRequest: null };
const options = { connection, prefix };
const SHORT_LOCK = { lockDuration: 1000, stalledInterval: 300, maxStalledCount: 1 };

// A worker that is ready, whose connection's errors end the test.
async function worker(name, work, more = {}) {
  const made = new Worker(name, work, { ...options, ...more });
  made.on('error', (error) => { throw error; });
  await made.waitUntilReady();
  return made;
}

async function events(name) {
  const made = new QueueEvents(name, options);
  await made.waitUntilReady();
  return made;
}

const close = (...all) => Promise.all(all.map((one) => one.close()));

// 200 jobs and four workers: each job runs once, its result is kept, its events come.
async function twoHundredJobs() {
  const queue = new Queue('many', options);
  const heard = await events('many');
  const [ran, told] = [new Tally(), new Tally()];
  heard.on('completed', ({ jobId, returnvalue }) => told.add(`${jobId}=${returnvalue}`));
  const workers = [];
  for (let n = 0; n < 4; n++) {
    workers.push(await worker('many', async (job) => { ran.add(job.id); return job.data.n * 2; }, { concurrency: 10 }));
  }
  const added = await queue.addBulk(Array.from({ length: 200 }, (_, n) => ({ name: 'double', data: { n } })));
  check(added.map((job) => Number(job.id)), Array.from({ length: 200 }, (_, n) => n + 1), 'ids');
  await within(10, '200 results', told.reached(200));
  check([ran.counts.size, ran.most], [200, 1], 'each job ran once');
  check([...told.counts.keys()].sort(), added.map((job) => `${job.id}=${job.data.n * 2}`).sort(), 'each result was told');
  check(await queue.getJobCounts('wait', 'active', 'completed', 'failed'), { wait: 0, active: 0, completed: 200, failed: 0 });
  check((await queue.getJob('200')).returnvalue, 398);
  await close(...workers, heard, queue);
}

// With one worker jobs run in their order, and LIFO jobs before them.
async function order() {
  const queue = new Queue('order', options);
  await queue.pause();
  for (let n = 0; n < 20; n++) await queue.add('step', { n });
  await queue.add('first', { n: -1 }, { lifo: true });
  const ran = [];
  const all = new Tally();
  const one = await worker('order', async (job) => { ran.push(job.data.n); all.add(job.id); });
  check(await queue.isPaused(), true);
  await queue.resume();
  await within(10, 'all in order', all.reached(21));
  check(ran, Array.from({ length: 21 }, (_, n) => n - 1));
  await close(one, queue);
}

async function priorities() {
  const queue = new Queue('priorities', options);
  await queue.pause();
  const given = [5, 1, 3, 0, 2, 1, 5, 4, 3, 2, 1, 0];
  await queue.addBulk(given.map((priority, n) => ({ name: 'p', data: { n, priority }, opts: { priority } })));
  const last = await queue.add('p', { n: 99, priority: 5 }, { priority: 5 });
  await last.changePriority({ priority: 1 });
  check(await queue.getCountsPerPriority([0, 1, 5]), { 0: 2, 1: 4, 5: 2 });
  const ran = [];
  const all = new Tally();
  const one = await worker('priorities', async (job) => { ran.push(job.data.n); all.add(job.id); });
  await queue.resume();
  await within(10, 'all by priority', all.reached(given.length + 1));
  // 0 is no priority, which goes before all of them; equals in the order of their coming.
  const wanted = given.map((priority, n) => ({ priority, n })).concat({ priority: 1, n: 99 });
  check(ran, wanted.sort((a, b) => a.priority - b.priority || a.n - b.n).map(({ n }) => n));
  await close(one, queue);
}

async function delays() {
  const queue = new Queue('delays', options);
  const ran = [];
  const all = new Tally();
  const one = await worker('delays', async (job) => {
    ran.push(job.data.delay);
    check(Date.now() - job.timestamp >= job.data.delay - 2, true, `not before its ${job.data.delay} ms`);
    all.add(job.id);
  });
  await queue.addBulk([600, 200, 400, 0].map((delay) => ({ name: 'd', data: { delay }, opts: { delay } })));
  const far = await queue.add('d', { delay: 800 }, { delay: 3_600_000 });
  check(await far.getState(), 'delayed');
  await far.changeDelay(800);
  await within(10, 'all delayed jobs', all.reached(5));
  check(ran, [0, 200, 400, 600, 800]);
  await close(one, queue);
}

// Attempts are counted, waits grow exponentially, and what fails for good stays with its reason until it's retried.
async function retries() {
  const queue = new Queue('retries', options);
  const heard = await events('retries');
  const [ended, exhausted] = [new Tally(), new Tally()];
  heard.on('completed', ({ jobId }) => ended.add(jobId));
  heard.on('failed', ({ jobId }) => ended.add(jobId));
  heard.on('retries-exhausted', ({ jobId }) => exhausted.add(jobId));
  const times = new Map();
  let mended = false;
  const one = await worker('retries', async (job) => {
    times.set(job.id, [...(times.get(job.id) ?? []), Date.now()]);
    if (job.name === 'hopeless') throw new UnrecoverableError('no use');
    if (job.name === 'broken' && !mended) throw new Error('broken');
    if (job.name === 'third' && job.attemptsMade < 2) throw new Error(`attempt ${job.attemptsMade}`);
    return job.attemptsMade;
  }, { concurrency: 5 });
  const attempts = { attempts: 3, backoff: { type: 'exponential', delay: 100 } };
  const third = await queue.add('third', {}, attempts);
  const broken = await queue.add('broken', {}, attempts);
  const hopeless = await queue.add('hopeless', {}, attempts);
  await within(10, 'three ends', ended.reached(3));
  await within(10, 'retries-exhausted', exhausted.reached(1));
  check((await queue.getJob(third.id)).returnvalue, 2);
  check((await queue.getJob(broken.id)).failedReason, 'broken');
  check([third, broken, hopeless].map(({ id }) => times.get(id).length), [3, 3, 1]);
  const [a, b, c] = times.get(third.id);
  check([b - a >= 99, c - b >= 199], [true, true], `backoff of 100 and 200 ms: ${[b - a, c - b]}`);
  check(await queue.getJobCounts('completed', 'failed', 'delayed'), { completed: 1, failed: 2, delayed: 0 });
  mended = true;
  const again = await queue.getJob(broken.id);
  await again.retry('failed');
  check(await within(10, 'the retried job', again.waitUntilFinished(heard)), 3);
  check(await queue.getFailedCount(), 1);
  await close(one, heard, queue);
}

// A parent runs when its children of two queues are done, has their results, and fails with a child that says so.
async function flows() {
  const flow = new FlowProducer(options);
  const [parents, left] = [new Queue('parents', options), new Queue('left', options)];
  const heard = await events('parents');
  const ran = new Tally();
  const child = async (job) => {
    if (job.data.fail) throw new Error('a bad child');
    ran.add(job.data.n);
    return job.data.n;
  };
  const workers = [
    await worker('left', child, { concurrency: 5 }),
    await worker('right', child, { concurrency: 5 }),
    await worker('parents', async (job) => {
      if (job.name === 'middle') ran.add('middle');
      const values = Object.values(await job.getChildrenValues());
      return values.reduce((sum, value) => sum + value, 0);
    }),
  ];
  const children = Array.from({ length: 20 }, (_, n) => ({ name: 'c', queueName: n % 2 ? 'left' : 'right', data: { n } }));
  const tree = await flow.add({
    name: 'root', queueName: 'parents',
    children: [{ name: 'middle', queueName: 'parents', children }, { name: 'c', queueName: 'left', data: { n: 1000 } }],
  });
  check(await within(10, 'the flow', tree.job.waitUntilFinished(heard)), 1190);
  check([ran.counts.size, ran.most], [22, 1]);
  check((await tree.job.getDependencies()).unprocessed ?? [], []);
  const bad = await flow.add({
    name: 'root', queueName: 'parents',
    children: [{ name: 'c', queueName: 'left', data: { n: 1, fail: true }, opts: { failParentOnFailure: true } }],
  });
  await refuses('failed', within(10, 'the bad flow', bad.job.waitUntilFinished(heard)));
  await close(...workers, heard, parents, left, flow);
}

// Repeated jobs come at their interval until their limit; a removed schedule comes no more.
async function schedules() {
  const queue = new Queue('schedules', options);
  const ran = [];
  const all = new Tally();
  const one = await worker('schedules', async (job) => { ran.push(Date.now()); all.add(job.id); });
  await queue.upsertJobScheduler('tick', { every: 200, limit: 5 }, { name: 'tick', data: { n: 1 } });
  await queue.upsertJobScheduler('never', { pattern: '0 0 1 1 *' }, { name: 'never' });
  check((await queue.getJobSchedulers()).map(({ key }) => key).sort(), ['never', 'tick']);
  await within(10, 'five ticks', all.reached(5));
  check(ran[4] - ran[0] >= 600, true, `five ticks of 200 ms in ${ran[4] - ran[0]} ms`);
  check(await queue.removeJobScheduler('never'), true);
  check(await queue.getDelayedCount(), 0);
  await close(one, queue);
}

// Progress, logs, deduplication, a rate limit, and taking everything away.
async function therest() {
  const queue = new Queue('rest', options);
  const heard = await events('rest');
  const [progress, deduplicated, completed] = [[], new Tally(), new Tally()];
  heard.on('completed', ({ jobId }) => completed.add(jobId));
  heard.on('progress', ({ data }) => progress.push(data));
  heard.on('deduplicated', ({ jobId }) => deduplicated.add(jobId));
  await queue.pause();
  const first = await queue.add('one', { n: 1 }, { deduplication: { id: 'same' } });
  check((await queue.add('one', { n: 2 }, { deduplication: { id: 'same' } })).id, first.id);
  check((await queue.add('one', {}, { jobId: 'mine' })).id, 'mine');
  check((await queue.add('one', {}, { jobId: 'mine' })).id, 'mine');
  check(await queue.count(), 2);
  const starts = [];
  const one = await worker('rest', async (job) => {
    starts.push(Date.now());
    await job.updateProgress({ half: job.id });
    await job.log('a line');
  }, { concurrency: 4, limiter: { max: 2, duration: 500 } });
  await queue.addBulk([1, 2, 3, 4].map((n) => ({ name: 'more', data: { n } })));
  await queue.resume();
  await within(10, 'the limited jobs', completed.reached(6));
  check(starts.length, 6);
  check(starts.filter((at) => at < starts[0] + 450).length <= 2, true, `two per 500 ms: ${starts.map((at) => at - starts[0])}`);
  check(progress.length, 6);
  check(deduplicated.counts.get(first.id), 1);
  check((await queue.getJobLogs(first.id)).logs, ['a line']);
  await one.close();
  await queue.add('late', {});
  await queue.obliterate({ force: true });
  const bare = new Redis(connection);
  // The limit's own key goes by its time to live.
  check((await bare.keys(`${prefix}:rest:*`)).filter((key) => !key.endsWith(':limiter')), []);
  bare.disconnect();
  await close(heard, queue);
}

// A worker's process is killed with its job in hands: another finds the job stalled and runs it again.
async function stalled() {
  const queue = new Queue('stalled', options);
  const heard = await events('stalled');
  const found = once(heard, 'stalled');
  const job = await queue.add('slow', {});
  const victim = fork(fileURLToPath(import.meta.url), [host, port, modules, 'victim'], { stdio: 'inherit' });
  await within(10, 'a worker with a job', once(victim, 'message'));
  check(await job.getState(), 'active');
  victim.kill('SIGKILL');
  await once(victim, 'exit');
  const one = await worker('stalled', async () => 'saved', SHORT_LOCK);
  check((await within(10, 'the stalled job', found))[0].jobId, job.id);
  check(await within(10, 'its end', job.waitUntilFinished(heard)), 'saved');
  await close(one, heard, queue);
}

async function victim() {
  await worker('stalled', () => new Promise(() => process.send('working')), SHORT_LOCK);
}

async function flush() {
  const bare = new Redis(connection);
  await bare.flushall();
  bare.disconnect();
}

if (process.argv[5] === 'victim') await victim();
else {
  const parts = [flush, twoHundredJobs, order, priorities, delays, retries, flows, schedules, therest, stalled];
  await run(`BullMQ ${versionOf('bullmq')}`, parts);
}
