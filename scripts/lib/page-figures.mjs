// Fills the empty ledger of SERVER with its TOKEN, and prints what its board costs. The environment says besides which process the
// server is (PID), and what `chromium.mjs` takes.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { api, run, signIn } from '../../tests/people/chromium.mjs';

const { SERVER, TOKEN, PID } = process.env;
const send = api(SERVER, TOKEN);
const SERVICES = 200;
const ENVIRONMENTS = ['dev', 'test', 'staging', 'canary', 'prod'];
const OPEN = 100;
const CHANGES = 20;

let failed = false;
function say(what, value, unit, bound) {
  const over = bound !== undefined && value > bound;
  failed ||= over;
  const said = bound === undefined ? '' : `(at most ${bound})${over ? ' OVER' : ''}`;
  console.log(`${what.padEnd(58)} ${value.toFixed(1).padStart(8)} ${unit.padEnd(4)} ${said}`);
}

const hash = (text, length) => createHash('sha256').update(text).digest('hex').slice(0, length);
const middle = (values) => values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)];
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// The processor time of the server so far, in milliseconds: Linux counts in hundredths of a second.
function used() {
  const fields = readFileSync(`/proc/${PID}/stat`, 'utf8').split(') ').at(-1).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

// Every place with a version, an age and a person of its own, so that nothing compresses better than what teams have.
async function fill() {
  for (const [rank, name] of ENVIRONMENTS.entries()) await send('POST', '/environments', { name, rank, tier: rank === 4 ? 'production' : 'other' });
  for (let service = 0; service < SERVICES; service += 1) {
    const name = `${hash(`name ${service}`, 6)}-service`;
    for (const [rank, environment] of ENVIRONMENTS.entries()) {
      const own = Number.parseInt(hash(`${service} ${rank}`, 6), 16);
      const version = `${1 + (own % 7)}.${own % 31}.${service}-${rank}`;
      const begun = Date.now() - 60_000 - (own % (90 * 24 * 3600)) * 1000;
      const times = { started_at: new Date(begun).toISOString(), finished_at: new Date(begun + 40_000).toISOString() };
      const release = { commit_sha: hash(`${name} ${version}`, 40), committed_at: times.started_at };
      const initiated_by = `${hash(`person ${own % 40}`, 5)}.${hash(`name ${own % 40}`, 7)}`;
      await send('POST', '/deployments/record', { service: name, environment, version, status: 'succeeded', initiated_by, release, ...times });
    }
  }
  return send('GET', `/services?limit=${3 * CHANGES}`).then(({ items }) => items.map(({ name }) => name));
}

// What a browser that has signed in sends.
async function cookie(context) {
  const page = await context.newPage();
  await signIn(page, SERVER, TOKEN);
  await page.close();
  return (await context.cookies()).map(({ name, value }) => `${name}=${value}`).join('; ');
}

async function page(path, headers) {
  const before = performance.now();
  const answer = await fetch(SERVER + path, { headers: { accept: 'text/html', ...headers } });
  const html = await answer.text();
  if (!answer.ok && answer.status !== 304) throw new Error(`${path}: ${answer.status}`);
  return { html, took: performance.now() - before, tag: answer.headers.get('etag') ?? headers['if-none-match'] };
}

async function server(headers) {
  const { html } = await page('/', headers);
  const next = html.match(/href="(\/\?[^"]*cursor=[^"]*)"/)?.[1].replaceAll('&#38;', '&');
  for (let warm = 0; warm < 20; warm += 1) await page('/', headers);
  const [took, before] = [[], used()];
  for (let times = 0; times < 100; times += 1) took.push((await page('/', headers)).took + (next ? (await page(next, headers)).took : 0));
  const cpu = (used() - before) / 100;
  say('the board, all of its pages: processor time', cpu, 'ms', 20);
  say('the board, all of its pages: round trip, p50', middle(took), 'ms', 20);
  // `fetch` unpacks by itself: the length of what came is asked for apart.
  for (const coding of ['identity', 'zstd']) {
    let bytes = 0;
    for (const path of [SERVER + '/', next && SERVER + next].filter(Boolean)) bytes += await length(path, { ...headers, 'accept-encoding': coding });
    say(`the board, all of its pages: HTML, ${coding}`, bytes / 1024, 'KiB', coding === 'zstd' ? 60 : undefined);
  }
  for (const [what, found] of [['script', /src="([^"]*script[^"]*)"/], ['style', /href="([^"]*\.css)"/]]) {
    say(`the ${what}`, (await length(SERVER + html.match(found)[1], { 'accept-encoding': 'identity' })) / 1024, 'KiB', what === 'script' ? 20 : undefined);
  }
}

async function length(url, headers) {
  return new Promise((resolve, reject) => {
    const sent = request(url, { headers: { accept: 'text/html', ...headers } }, (answer) => {
      let bytes = 0;
      answer.on('data', (chunk) => (bytes += chunk.length));
      answer.on('end', () => resolve(bytes));
    });
    sent.on('error', reject).end();
  });
}

async function paint(browser, state) {
  const painted = { cold: [], warm: [] };
  for (let times = 0; times < 9; times += 1) {
    const context = await browser.newContext({ storageState: state });
    const tab = await context.newPage();
    for (const which of ['cold', 'warm']) {
      await tab.goto(`${SERVER}/`);
      painted[which].push(await tab.evaluate(`new Promise((resolve) => {
        const seen = performance.getEntriesByName('first-contentful-paint')[0];
        if (seen) resolve(seen.startTime);
        else new PerformanceObserver((list) => list.getEntriesByName('first-contentful-paint').forEach((one) => resolve(one.startTime)))
          .observe({ type: 'paint', buffered: true });
      })`));
    }
    await context.close();
  }
  say('first contentful paint, with nothing cached, p50', middle(painted.cold), 'ms', 300);
  say('first contentful paint, again, p50', middle(painted.warm), 'ms', 300);
}

// As many as are open follow the ledger and ask for the page after each change, as the script of the page does.
async function open(many, headers, services) {
  const ended = new AbortController();
  let shown = 0;
  const follow = async () => {
    let { tag } = await page('/', headers);
    const stream = await fetch(`${SERVER}/api/v1/events/stream`, { headers, signal: ended.signal });
    let timer;
    const refresh = async () => {
      ({ tag } = await page('/', { ...headers, 'if-none-match': tag }));
      shown += 1;
    };
    for await (const chunk of stream.body) {
      if (!new TextDecoder().decode(chunk).includes('deployment.')) continue;
      clearTimeout(timer);
      timer = setTimeout(refresh, 250);
    }
  };
  const all = Array.from({ length: many }, () => follow().catch((error) => error.name === 'AbortError' || Promise.reject(error)));
  await pause(2000);
  shown = 0;
  const before = used();
  for (let change = 0; change < CHANGES; change += 1) {
    const release = { commit_sha: hash(`${many} ${change}`, 40) };
    await send('POST', '/deployments', { service: services[change], environment: 'dev', version: `9.${many}.${change}`, release });
    await pause(1500);
  }
  const cpu = (used() - before) / CHANGES;
  ended.abort();
  await Promise.all(all);
  return [cpu, shown / CHANGES / Math.max(many, 1)];
}

const services = await fill();
await run(async (browser) => {
  const context = await browser.newContext();
  const headers = { cookie: await cookie(context) };
  await server(headers);
  await paint(browser, await context.storageState());
  const [none] = await open(0, headers, services.slice(0, CHANGES));
  const [one] = await open(1, headers, services.slice(CHANGES, 2 * CHANGES));
  const [hundred, each] = await open(OPEN, headers, services.slice(2 * CHANGES));
  say('a change, nobody looks: processor time', none, 'ms');
  say('a change, one board is open: processor time', one, 'ms');
  say(`a change, ${OPEN} boards are open: processor time`, hundred, 'ms');
  say('of that, each board that shows it', (hundred - none) / OPEN, 'ms');
  say('how often each board asked for each change', each, '');
});
process.exitCode = failed ? 1 : 0;
