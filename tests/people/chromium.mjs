// What the scripts share that drive a real Chromium. The environment says where the packages are (MODULES), which CHROMIUM to run,
// and in which folder a story that fails leaves what it looked like (FAILURES). A script ends with `ok`, or with an error at
// the first thing that is not as it should be.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const { MODULES, CHROMIUM, FAILURES } = process.env;
export const modules = createRequire(`${MODULES}/`);
const { chromium } = await import(pathToFileURL(modules.resolve('playwright-core'))).then((loaded) => loaded.default ?? loaded);

// A new Chromium, which asks nobody on the network but those it is led to.
export const launch = (...args) => chromium.launch({
  executablePath: CHROMIUM,
  args: ['--no-sandbox', '--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync', ...args],
});

// A browser's window of its own, whose pages' complaints are collected: what is wrong in the console, and what their policy forbids.
export async function open(browser, options) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(30_000);
  context.complaints = [];
  context.on('page', (page) => {
    page.on('console', (message) => message.type() === 'error' && context.complaints.push(`${page.url()}: ${message.text()}`));
    page.on('pageerror', (error) => context.complaints.push(`${page.url()}: ${error}`));
  });
  await context.tracing.start({ snapshots: true, screenshots: true });
  return context;
}

// Tells a story in the pages of a window. One that fails leaves its trace and a picture of each page.
export async function story(name, context, tell) {
  const begun = performance.now();
  await context.tracing.startChunk({ title: name });
  try {
    await tell();
    assert.deepEqual(context.complaints.splice(0), []);
    await context.tracing.stopChunk();
    console.log(`${name}: ${Math.round(performance.now() - begun)} ms`);
  } catch (error) {
    const at = `${FAILURES}/${name.replaceAll(/\W+/g, '-')}`;
    mkdirSync(FAILURES, { recursive: true });
    await context.tracing.stopChunk({ path: `${at}.zip` });
    const pictures = [];
    for (const [nth, page] of context.pages().entries()) {
      pictures.push(`${at}-${nth}.png`);
      await page.screenshot({ path: pictures[nth], fullPage: true, timeout: 5_000 }).catch(() => pictures.pop());
    }
    error.message = `"${name}" has failed. Its pages: ${pictures.join(', ')}; its trace, for https://trace.playwright.dev: ${at}.zip\n${error.message}`;
    throw error;
  }
}

// Runs a whole script in a new Chromium.
export async function run(tell, ...args) {
  const browser = await launch(...args);
  try {
    await tell(browser);
    console.log('ok');
  } finally {
    await browser.close();
    process.stdin.destroy();
  }
}

// Signs in with a token, as where there is no issuer.
export async function signIn(page, server, token) {
  await page.goto(`${server}/login`);
  await page.getByLabel('Token').fill(token);
  await page.getByRole('main').getByRole('button').click();
  await page.waitForURL(`${server}/account`);
}

// Asks the API of a server, with a token; gives what it answers.
export const api = (server, token) => async (method, path, body, statuses = [200, 201, 204]) => {
  const answer = await fetch(`${server}/api/v1${path}`, {
    method, body: JSON.stringify(body), headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
  });
  const text = await answer.text();
  assert.ok(statuses.includes(answer.status), `${method} ${path}: ${answer.status} ${text}`);
  return text && JSON.parse(text);
};

let answers;
// Asks the test that runs the script for something, and waits until it is done.
export async function please(wish) {
  answers ??= createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  console.log(`? ${wish}`);
  assert.equal((await answers.next()).value, 'done');
}
