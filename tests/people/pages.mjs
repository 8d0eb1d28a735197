// A real Chromium looks at every page of a server that has something to show, in light and dark, on a screen and on a phone: nothing
// keeps anybody out (axe-core), nothing hangs over, nothing is complained of. Then people do what they come for. The environment
// says, besides what `chromium.mjs` takes, where the server is (SERVER), a TOKEN for it, the PATHS to look at as JSON, and a
// deployment that runs (RUNNING).
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { api, modules, open, run, signIn, story } from './chromium.mjs';

const { SERVER, TOKEN, PATHS, RUNNING } = process.env;
const call = api(SERVER, TOKEN);
const axe = readFileSync(modules.resolve('axe-core/axe.min.js'), 'utf8');
const rules = JSON.stringify({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] });

async function look(page, path, colorScheme, width, status = 200) {
  await page.setViewportSize({ width, height: 800 });
  await page.emulateMedia({ colorScheme });
  const answer = await page.goto(SERVER + path);
  assert.equal(answer.status(), status, path);
  await isOpen(page, path, colorScheme, width);
}

async function isOpen(page, path, colorScheme, width) {
  const over = await page.evaluate('document.documentElement.scrollWidth - innerWidth');
  assert.ok(over <= 0, `${path} hangs over by ${over} pixels at ${width}`);
  await page.evaluate(axe);
  const { violations } = await page.evaluate(`axe.run(${rules})`);
  const bad = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  assert.deepEqual(bad.map(({ id, nodes }) => `${path} ${colorScheme} ${width} ${id}: ${nodes[0].html}`), []);
}

// The page that is shown, in both schemes.
async function isOpenInBoth(page, what) {
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await isOpen(page, what, colorScheme, 1280);
  }
}

// By Tab alone everything that does something is reached, and it shows where one is.
async function walk(page, path) {
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
async function onPaper(page, path) {
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

await run(async (browser) => {
  const context = await open(browser);
  const page = await context.newPage();

  await story('every page is open to everybody', context, async () => {
    await look(page, '/login', 'light', 360);
    await look(page, '/login', 'dark', 1280);
    await signIn(page, SERVER, TOKEN);
    for (const path of JSON.parse(PATHS)) {
      for (const [colorScheme, width] of [['light', 1280], ['dark', 1280], ['light', 360], ['dark', 2560]]) {
        await look(page, path, colorScheme, width);
      }
    }
  });

  await story('what is refused, what is not there, and a secret that is shown once', context, async () => {
    await look(page, '/?owner=nobody', 'light', 1280);
    await look(page, '/?as_of=soon', 'dark', 1280, 400);
    await look(page, '/services/shpo', 'light', 360, 404);
    assert.match(await page.textContent('main'), /Did you mean shop\?/);
    await page.getByRole('main').getByRole('link', { name: 'shop' }).click();
    await page.waitForURL(`${SERVER}/services/shop`);
    await look(page, '/nothing/is/here', 'dark', 360, 404);
    await page.getByRole('navigation', { name: 'Sections' }).getByRole('link', { name: 'Services' }).click();
    await page.waitForURL(`${SERVER}/services`);
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.goto(`${SERVER}/settings/tokens`);
    await page.evaluate("document.querySelectorAll('[required]').forEach((field) => field.removeAttribute('required'))");
    await page.getByLabel('Name').fill('No Name');
    await page.getByRole('button', { name: 'Make the token' }).click();
    await page.locator('.fault').first().waitFor();
    await isOpenInBoth(page, 'a refused form');
    await page.getByLabel('Name').fill('reader');
    await page.getByRole('checkbox', { name: /^read\b/ }).first().check();
    await page.getByRole('button', { name: 'Make the token' }).click();
    await page.getByText('This is the only time').waitFor();
    await isOpenInBoth(page, 'a new secret');
    // Chromium itself complains of the statuses.
    context.complaints = context.complaints.filter((one) => !/status of 4\d\d/.test(one));
  });

  await story('by keyboard alone, and on paper', context, async () => {
    await page.emulateMedia({ colorScheme: 'light' });
    for (const path of ['/', '/services/shop/environments/prod', '/environments/prod/policy']) await walk(page, path);
    for (const path of ['/', '/services/shop', '/services/shop/environments/prod']) await onPaper(page, path);
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.goto(`${SERVER}/deployments`);
    await page.getByRole('searchbox').focus();
    await page.keyboard.type('shop');
    await page.keyboard.press('Enter');
    await page.waitForURL(`${SERVER}/services/shop`);
  });

  await story('on call at three in the morning: what changed in the last two hours, and the way back', context, async () => {
    await page.goto(`${SERVER}/`);
    let clicks = 0;
    const click = async (name) => {
      clicks += 1;
      await page.getByRole('main').or(page.getByRole('banner')).getByRole('link', { name, exact: true }).first().click();
    };
    await click('Deployments');
    await click('2 hours');
    assert.match(await page.getByRole('row', { name: /prod/ }).first().textContent(), /admin/, 'who it was');
    await click('prod');
    await page.waitForURL(/\/services\/shop\/environments\/prod$/);
    assert.match(await page.textContent('main'), /waybill rollback --service shop --environment prod --to 1\.0 /);
    assert.ok(clicks <= 4);
  });

  await story('a page follows what happens, and leaves alone what somebody types', context, async () => {
    await page.goto(`${SERVER}/deployments/${RUNNING}`);
    await page.evaluate("window.loaded = 'once'");
    await page.getByRole('searchbox').fill('half a wo');
    await page.waitForTimeout(500);
    await call('POST', `/deployments/${RUNNING}/finish`, { status: 'failed' });
    await page.locator('.status.failed').waitFor();
    assert.equal(await page.evaluate('window.loaded'), 'once', 'without a reload');
    assert.equal(await page.getByRole('searchbox').inputValue(), 'half a wo');
    assert.match(await page.title(), /failed/);
  });

  await story('an approval of their own work does not count', context, async () => {
    await page.goto(`${SERVER}/approvals`);
    await page.getByText('Approve or reject 1.2').click();
    await page.getByLabel('Why').fill('seen in dev');
    await page.getByRole('button', { name: 'Approve', exact: true }).click();
    await page.waitForURL(`${SERVER}/approvals`);
    await page.getByText('does not count: initiated').waitFor();
  });

  await story('an environment is locked down and opened again, each in two steps', context, async () => {
    await page.goto(`${SERVER}/environments/prod`);
    await page.getByText('Lock prod down …').click();
    await page.getByLabel('Reason').fill('an incident');
    await page.getByRole('button', { name: 'Lock prod down' }).click();
    await page.getByText('Locked down').waitFor();
    await page.getByText('Lift the lockdown …').click();
    await page.getByRole('button', { name: 'Let deployments into prod again' }).click();
    await page.getByText('Lock prod down …').waitFor();
  });

  await story('what is typed into the filter confines the board at once', context, async () => {
    await page.goto(`${SERVER}/`);
    await page.evaluate("window.loaded = 'once'");
    const rows = page.locator('#board tbody tr');
    assert.equal(await rows.count(), 1);
    const service = page.getByRole('textbox', { name: 'Service' });
    await service.pressSequentially('shox');
    await page.getByText('Nothing is on record that fits').waitFor();
    assert.equal(new URL(page.url()).search, '?service=shox');
    await page.keyboard.press('Backspace');
    await rows.first().waitFor();
    await page.getByLabel('Tier', { exact: true }).selectOption('development');
    await page.getByRole('columnheader', { name: /^prod/ }).waitFor({ state: 'detached' });
    assert.equal(await rows.count(), 1);
    assert.equal(new URL(page.url()).search, '?service=sho&tier=development');
    assert.equal(await service.inputValue(), 'sho');
    assert.equal(await page.evaluate('window.loaded'), 'once', 'without a reload');
  });

  const kolkata = await open(browser, { timezoneId: 'Asia/Kolkata', storageState: await context.storageState() });
  await story('moments are told in the zone of the reader, and in UTC to whoever points at them', kolkata, async () => {
    const there = await kolkata.newPage();
    const isLocal = async (time, digits) => {
      const at = new Date(await time.getAttribute('datetime'));
      const utc = at.toISOString().slice(0, 19).replace('T', ' ');
      assert.equal(await time.getAttribute('title'), `${utc} UTC`);
      const local = new Date(at.getTime() + 5.5 * 3_600_000).toISOString().replace('T', ' ').slice(0, digits);
      assert.equal(await time.textContent(), `${local} GMT+5:30`);
    };
    for (const [path, place, digits] of [
      [`/deployments/${RUNNING}`, 'ol.timeline time', 19],
      ['/settings/waivers', 'tbody time', 16],
      ['/account', 'dl.facts time', 16],
      ['/?as_of=2020-01-01', '.travel time', 19],
    ]) {
      await there.goto(SERVER + path);
      await isLocal(there.locator(place).first(), digits);
    }
    await there.goto(`${SERVER}/`);
    const shown = there.locator('#state time');
    await isLocal(shown, 19);
    const age = there.locator('#board tbody time').first();
    assert.match(await age.textContent(), /^\d+[smh]/);
    const locked = there.getByRole('columnheader', { name: /prod.*locked/ });
    await call('PUT', '/environments/prod/lockdown', { reason: 'to be seen live' });
    await locked.waitFor();
    await isLocal(shown, 19);
    await call('DELETE', '/environments/prod/lockdown');
    await locked.waitFor({ state: 'detached' });
    await isLocal(shown, 19);
  });

  const plain = await open(browser, { javaScriptEnabled: false, storageState: await context.storageState() });
  await story('without script everything is the same', plain, async () => {
    const still = await plain.newPage();
    await still.goto(`${SERVER}/services/shop`);
    await still.getByRole('link', { name: 'quarter' }).click();
    await still.waitForURL(/zoom=quarter/);
    assert.match(await still.locator('#state time').textContent(), /UTC$/);
  });
});
