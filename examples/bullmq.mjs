// Jobs by BullMQ on Tidegate: `npm install bullmq`, then `node bullmq.mjs [PORT]`. docs/jobs.md tells the rest.
import { Queue, QueueEvents, Worker } from 'bullmq';

// Any node of a cluster will do; maxRetriesPerRequest: null lets commands wait while a node is away.
const connection = { host: '127.0.0.1', port: Number(process.argv[2] ?? 6379), maxRetriesPerRequest: null };
// The braces keep all keys of the queues in one shard, which BullMQ's scripts need on several nodes.
const options = { connection, prefix: '{mail}' };

const worker = new Worker('mail', async (job) => {
  if (job.attemptsMade === 0 && job.name === 'flaky') throw new Error('the first attempt fails');
  return `sent to ${job.data.to}`;
}, { ...options, concurrency: 5 });
worker.on('error', (error) => console.error(error.message));

const queue = new Queue('mail', options);
const events = new QueueEvents('mail', options);
await events.waitUntilReady();

// An id of one's own: adding the same again, after an error or an answer that got lost, adds nothing.
const jobs = await Promise.all([
  queue.add('plain', { to: 'ada' }, { jobId: `plain-${process.pid}` }),
  queue.add('later', { to: 'bob' }, { jobId: `later-${process.pid}`, delay: 300 }),
  queue.add('flaky', { to: 'eve' }, { jobId: `flaky-${process.pid}`, attempts: 3, backoff: { type: 'exponential', delay: 100 } }),
]);
for (const job of jobs) console.log(job.name, await job.waitUntilFinished(events, 20_000));
await Promise.all([worker.close(), events.close(), queue.close()]);
