// BullMQ on three nodes of which the one that leads its queue is killed: no job that was added is lost, each is done at least
// once. Workers at the RESP ports of the others, and one with ioredis' Cluster at the cluster ports of all.
// Usage: node bullmq_cluster.mjs TAG MODULES PORTS CLUSTER_PORTS
import { Tally, check, cluster, insist, load, run, versionOf, within } from './support.mjs';

const { FlowProducer, Queue, QueueEvents, Worker } = load('bullmq');
const { Cluster } = load('ioredis');
const { tag, ports, clusterPorts, state, killed, half } = cluster();
const at = (port) => ({ host: '127.0.0.1', port, maxRetriesPerRequest: null });
const options = (connection) => ({ connection, prefix: tag });
const LOCKS = { concurrency: 5, lockDuration: 2000, stalledInterval: 500, maxStalledCount: 10 };
const met = {};

function routed() {
  const nodes = clusterPorts.map((port) => ({ host: '127.0.0.1', port }));
  const made = new Cluster(nodes, { redisOptions: { maxRetriesPerRequest: null } });
  made.on('error', () => {});
  return made;
}

async function worker(name, work, connection) {
  const made = new Worker(name, work, { ...options(connection), ...LOCKS });
  made.on('error', (error) => { const word = error.message.split(' ')[0]; met[word] = (met[word] ?? 0) + 1; });
  await made.waitUntilReady();
  return made;
}

async function work() {
  const ran = new Tally();
  const run = async (job) => {
    await new Promise((done) => setTimeout(done, 10));
    ran.add(job.id);
    if (ran.counts.size === 50) half();
    return job.data.n;
  };
  for (const connection of [at(ports[0]), at(ports[1]), routed()]) await worker('jobs', run, connection);
  const queue = new Queue('jobs', options(at(ports[0])));
  queue.on('error', () => {});
  const heard = new QueueEvents('jobs', options(at(ports[1])));
  heard.on('error', () => {});
  const told = new Tally();
  heard.on('completed', ({ jobId }) => told.add(jobId));
  await heard.waitUntilReady();
  // An id of one's own makes it safe to add a job again whose first answer was an error or got lost.
  let added = 0;
  const add = (delay) => insist(() => queue.add('n', { n: added }, { jobId: `job-${added}`, delay, attempts: 3 }), met).then(() => { added += 1; });
  while (!state.killed) await add(added % 10 === 0 ? 200 : 0);
  for (const end = added + 100; added < end;) await add(0);
  await within(20, `the end of ${added} jobs`, told.reached(added));
  check([ran.counts.size, ran.least], [added, 1], 'each job ran');
  const counts = await insist(() => queue.getJobCounts('wait', 'active', 'delayed', 'completed', 'failed'));
  check(counts, { wait: 0, active: 0, delayed: 0, completed: added, failed: 0 });
  const more = [...ran.counts.values()].filter((count) => count > 1).length;
  console.log(`BullMQ ${versionOf('bullmq')}: ${added} jobs, ${more} ran more than once; errors met: ${JSON.stringify(met)}`);
}

// A parent of fifty children that was added before the death ends after it.
async function flow() {
  const producer = new FlowProducer(options(at(ports[1])));
  producer.on('error', () => {});
  const sum = async (job) => (job.name === 'child' ? job.data.n
    : Object.values(await job.getChildrenValues()).reduce((total, value) => total + value, 0));
  const queue = new Queue('tree', options(at(ports[0])));
  const heard = new QueueEvents('tree', options(at(ports[0])));
  heard.on('error', () => {});
  const ended = new Promise((done) => heard.on('completed', ({ jobId, returnvalue }) => { if (jobId === 'parent') done(returnvalue); }));
  await heard.waitUntilReady();
  await queue.pause();
  const children = Array.from({ length: 50 }, (_, n) => ({ name: 'child', queueName: 'tree', data: { n } }));
  await producer.add({ name: 'parent', queueName: 'tree', children, opts: { jobId: 'parent' } });
  for (const port of ports) await worker('tree', sum, at(port));
  await queue.resume();
  await killed;
  // job.waitUntilFinished isn't used: an error that it meets inside ends the process.
  check(await within(20, 'the flow', ended), 1225);
}

await run('BullMQ on a cluster', [() => Promise.all([work(), flow()])], 60);
