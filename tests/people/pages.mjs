// A real Chromium looks at every page of a server that has something to show, in light and dark, on a screen and on a phone: nothing
// keeps anybody out (axe-core), nothing hangs over, nothing is complained of. Then somebody on call finds what changed, and a page
// follows what happens. The environment says where the packages are (MODULES), which CHROMIUM to run, where the server is
// (SERVER), a TOKEN for it, the PATHS to look at as JSON, a deployment that runs (RUNNING), and where the picture of a
// failure goes (FAILURE), with a trace beside it. Ends with an error at the first thing that is not as it should be.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const { MODULES, CHROMIUM, SERVER, TOKEN, PATHS, RUNNING, FAILURE } = process.env;
const modules = createRequire(`${MODULES}/`);
const { chromium } = await import(pathToFileURL(modules.resolve('playwright-core'))).then((loaded) => loaded.default ?? loaded);
const axe = readFileSync(modules.resolve('axe-core/axe.min.js'), 'utf8');
const rules = JSON.stringify({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] });

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const context = await browser.newContext();
context.setDefaultTimeout(15_000);
await context.tracing.start({ screenshots: true, snapshots: true });
const page = await context.newPage();
const complaints = [];
page.on('console', (message) => message.type() === 'error' && complaints.push(`${page.url()}: ${message.text()}`));
page.on('pageerror', (error) => complaints.push(`${page.url()}: ${error}`));

const api = (method, path, body) =>
  fetch(`${SERVER}/api/v1${path}`, {
    method, body: JSON.stringify(body), headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
  }).then((answer) => assert.ok(answer.ok, `${path}: ${answer.status}`));

async function look(path, colorScheme, width, status = 200) {
  await page.setViewportSize({ width, height: 800 });
  await page.emulateMedia({ colorScheme });
  const answer = await page.goto(SERVER + path);
  assert.equal(answer.status(), status, path);
  await isOpen(path, colorScheme, width);
}

async function isOpen(path, colorScheme, width) {
  const over = await page.evaluate('document.documentElement.scrollWidth - innerWidth');
  assert.ok(over <= 0, `${path} hangs over by ${over} pixels at ${width}`);
  await page.evaluate(axe);
  const { violations } = await page.evaluate(`axe.run(${rules})`);
  const bad = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  assert.deepEqual(bad.map(({ id, nodes }) => `${path} ${colorScheme} ${width} ${id}: ${nodes[0].html}`), []);
}

// The page that is shown, in both schemes.
async function isOpenInBoth(what) {
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await isOpen(what, colorScheme, 1280);
  }
}

// By Tab alone everything that does something is reached, and it shows where one is.
async function walk(path) {
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.goto(SERVER + path);
  const all = 'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]';
  const count = await page.evaluate((all) => [...document.querySelectorAll(all)].filter((one) => one.checkVisibility()).length, all);
  const reached = new Set();
  // A field for a moment has a stop for each of its parts.
  for (let step = 0; reached.size < count && step < count + 20; step += 1) {
    await page.keyboard.press('Tab');
    const [nth, shows, html] = await page.evaluate((all) => {
      const here = document.activeElement;
      const shows = getComputedStyle(here).outlineStyle !== 'none' || here.type === 'datetime-local';
      return [[...document.querySelectorAll(all)].indexOf(here), shows, here.outerHTML.slice(0, 200)];
    }, all);
    assert.ok(shows, `${path}: nothing shows that one is at ${html}`);
    reached.add(nth);
  }
  assert.ok(!reached.has(-1) && reached.size === count, `${path}: ${count - reached.size} are not reached`);
}

// On paper, and for those whom movement disturbs.
async function onPaper(path) {
  await page.emulateMedia({ media: 'print', reducedMotion: 'reduce' });
  await page.setViewportSize({ width: 720, height: 1000 });
  await page.goto(SERVER + path);
  assert.ok(await page.getByRole('heading', { level: 1 }).isVisible(), path);
  const moving = await page.evaluate(() => [...document.querySelectorAll('*')].filter((one) => {
    const { animationName, transitionDuration } = getComputedStyle(one);
    return animationName !== 'none' || transitionDuration.split(', ').some((time) => time !== '0s');
  }).length);
  assert.equal(moving, 0, path);
  await page.emulateMedia({ media: null, reducedMotion: null });
}

try {
  await look('/login', 'light', 360);
  await look('/login', 'dark', 1280);
  await page.goto(`${SERVER}/login`);
  await page.getByLabel('Token').fill(TOKEN);
  await page.getByRole('button').click();
  await page.waitForURL(`${SERVER}/account`);
  for (const path of JSON.parse(PATHS)) {
    for (const [colorScheme, width] of [['light', 1280], ['dark', 1280], ['light', 360], ['dark', 2560]]) {
      await look(path, colorScheme, width);
    }
  }

  // What is refused, what is not there, and a secret that is shown once.
  await look('/services/shpo', 'light', 360, 404);
  await look('/?as_of=soon', 'dark', 1280, 400);
  await look('/?owner=nobody', 'light', 1280);
  complaints.length = 0; // Chromium complains of the statuses.
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.goto(`${SERVER}/settings/tokens`);
  await page.evaluate("document.querySelectorAll('[required]').forEach((field) => field.removeAttribute('required'))");
  await page.getByLabel('Name').fill('No Name');
  await page.getByRole('button', { name: /make/i }).click();
  await page.locator('.fault').first().waitFor();
  await isOpenInBoth('a refused form');
  complaints.length = 0;
  await page.getByLabel('Name').fill('reader');
  await page.getByRole('checkbox', { name: /^read\b/ }).first().check();
  await page.getByRole('button', { name: /make/i }).click();
  await page.getByText('This is the only time').waitFor();
  await isOpenInBoth('a new secret');

  await page.emulateMedia({ colorScheme: 'light' });
  for (const path of ['/', '/services/shop/environments/prod', '/environments/prod/policy']) await walk(path);
  for (const path of ['/', '/services/shop', '/services/shop/environments/prod']) await onPaper(path);

  // At three in the morning: what changed in the last two hours, and the way back, in four clicks.
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.goto(`${SERVER}/`);
  const click = (name) => page.getByRole('main').or(page.getByRole('banner')).getByRole('link', { name, exact: true }).first().click();
  await click('Deployments');
  await click('2 hours');
  await click('prod');
  await page.waitForURL(/\/services\/shop\/environments\/prod$/);
  assert.match(await page.textContent('main'), /waybill rollback --service shop --environment prod --to 1\.0 /);

  // By keyboard alone to the search, and through it to a service.
  await page.goto(`${SERVER}/deployments`);
  await page.getByRole('searchbox').focus();
  await page.keyboard.type('shop');
  await page.keyboard.press('Enter');
  await page.waitForURL(`${SERVER}/services/shop`);

  // A page follows what happens, and leaves alone what somebody types meanwhile.
  await page.goto(`${SERVER}/deployments/${RUNNING}`);
  await page.evaluate("window.loaded = 'once'");
  await page.getByRole('searchbox').fill('half a wo');
  await page.waitForTimeout(500);
  await api('POST', `/deployments/${RUNNING}/finish`, { status: 'failed' });
  await page.locator('.status.failed').waitFor();
  assert.equal(await page.evaluate('window.loaded'), 'once', 'without a reload');
  assert.equal(await page.getByRole('searchbox').inputValue(), 'half a wo');
  assert.match(await page.title(), /failed/);
  assert.deepEqual(complaints, []);

  // Somebody approves, and is told that it does not count: it is their own work.
  await page.goto(`${SERVER}/approvals`);
  await page.getByText('Approve or reject 1.2').click();
  await page.getByLabel('Why').fill('seen in dev');
  await page.getByRole('button', { name: 'Approve', exact: true }).click();
  await page.waitForURL(`${SERVER}/approvals`);
  await page.getByText('does not count: initiated').waitFor();

  // An environment is locked down and opened again, each by two steps and no script of ours.
  await page.goto(`${SERVER}/environments/prod`);
  await page.getByText('Lock prod down …').click();
  await page.getByLabel('Reason').fill('an incident');
  await page.getByRole('button', { name: 'Lock prod down' }).click();
  await page.getByText('Locked down').waitFor();
  await page.getByText('Lift the lockdown …').click();
  await page.getByRole('button', { name: 'Let deployments into prod again' }).click();
  await page.getByText('Lock prod down …').waitFor();
  assert.deepEqual(complaints, []);

  // What is not there is a page, too.
  const missing = await page.goto(`${SERVER}/services/shpo`);
  assert.equal(missing.status(), 404);
  assert.match(await page.textContent('main'), /Did you mean shop\?/);

  // Without script everything is the same.
  const plain = await browser.newContext({ javaScriptEnabled: false, storageState: await context.storageState() });
  const still = await plain.newPage();
  await still.goto(`${SERVER}/services/shop`);
  await still.getByRole('link', { name: 'quarter' }).click();
  await still.waitForURL(/zoom=quarter/);
  console.log('ok');
} catch (error) {
  const trace = FAILURE.replace(/\.png$/, '.zip');
  await page.screenshot({ path: FAILURE, fullPage: true, timeout: 5_000 }).catch(() => {});
  await context.tracing.stop({ path: trace });
  console.error(`It looked like ${FAILURE}; how it came to that, for https://trace.playwright.dev: ${trace}`);
  throw error;
} finally {
  await browser.close();
}
