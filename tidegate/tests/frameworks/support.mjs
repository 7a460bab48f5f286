// What the tests of Node.js libraries share: where the server and the libraries are, exact checks, and waits that end.
// Each test is called with the arguments HOST PORT MODULES, where MODULES is the folder that `npm install` has made.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

export const [host, port] = [process.argv[2], Number(process.argv[3])];
export const modules = process.argv[2].startsWith('{') ? process.argv[3] : process.argv[4];
export const load = createRequire(`${resolve(modules)}/`);
export const versionOf = (name) => JSON.parse(load('node:fs').readFileSync(`${modules}/node_modules/${name}/package.json`)).version;
let checks = 0;

// The value is the wanted one, its type included.
export function check(got, wanted, what) {
  assert.deepEqual(got, wanted, what && `${what}: got ${JSON.stringify(got)}, expected ${JSON.stringify(wanted)}`);
  checks += 1;
}

export async function refuses(text, promise) {
  await assert.rejects(promise, (error) => error.message.includes(text), `an error that says '${text}'`);
  checks += 1;
}

// What the promise gives; it ends the test if that takes longer.
export async function within(seconds, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${seconds} s`)), seconds * 1000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Counts what happens by name; `reached(n)` is fulfilled when `n` different names were seen.
export class Tally {
  counts = new Map();
  #waiting = [];

  add(name) {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
    this.#waiting = this.#waiting.filter(({ wanted, done }) => this.counts.size < wanted || done());
  }

  reached(wanted) {
    return new Promise((done) => {
      if (this.counts.size >= wanted) done();
      else this.#waiting.push({ wanted, done: () => (done(), false) });
    });
  }

  // How often the names were seen that were seen most and least.
  get most() { return Math.max(...this.counts.values()); }
  get least() { return Math.min(...this.counts.values()); }
}

// Runs the parts by turns, says what passed, and ends the process although libraries may hold connections open.
export async function run(name, parts, seconds = 30) {
  const started = performance.now();
  for (const part of parts) {
    try {
      await within(seconds, part.name, part());
    } catch (error) {
      console.error(`${name}: ${part.name}`);
      console.error(error);
      process.exit(1);
    }
  }
  console.log(`${name}: ${checks} checks passed in ${((performance.now() - started) / 1000).toFixed(1)} s`);
  process.exit(0);
}

// Of a test on a cluster: called with TAG MODULES, the RESP ports of the nodes that survive and the cluster ports of all nodes
// by commas. It says `half` when it's in the middle of its work; then a node is killed, and stdin ends.
export function cluster() {
  const [tag, , ports, all] = process.argv.slice(2);
  const numbers = (text) => text.split(',').map(Number);
  const state = { killed: false };
  const killed = new Promise((done) => process.stdin.on('end', done).resume()).then(() => { state.killed = true; });
  return { tag, ports: numbers(ports), clusterPorts: numbers(all), state, killed, half: () => console.log('half') };
}

// The call's value, once it's no error; says by `retried` which errors came before. It ends the test after 20 s.
export async function insist(call, retried = {}) {
  const late = performance.now() + 20_000;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      const name = error.message.split(' ')[0];
      retried[name] = (retried[name] ?? 0) + 1;
      if (performance.now() > late) throw error;
      await new Promise((again) => setTimeout(again, 20));
    }
  }
}
