// What people open the pages for, in a real Chromium: a first visit, a release manager, an auditor, a manager, and somebody who
// watches while the server is restarted. The environment says, besides what `chromium.mjs` takes, which server shows the pages
// (PAGES), to which one pipelines talk (API; it may be another one on the same database), the admin's TOKEN, and where the
// WAYBILL binary is. The test stops and starts the server of the pages where it is asked to.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { api, open, please, run, signIn, story } from './chromium.mjs';

const { PAGES, API, TOKEN, WAYBILL } = process.env;
const call = api(API, TOKEN);
const shell = (script, cwd) =>
  promisify(execFile)('bash', ['-ec', script], { cwd, env: { PATH: `${dirname(WAYBILL)}:${process.env.PATH}` } });

// Which page is loaded is marked, so that one that was loaded anew has no mark.
const mark = (page) => page.evaluate("window.loaded = 'once'");
const isMarked = async (page) => assert.equal(await page.evaluate('window.loaded'), 'once', 'without a reload');

await run(async (browser) => {
  const context = await open(browser);
  const page = await context.newPage();
  await signIn(page, PAGES, TOKEN);

  await story('a first visit to an empty ledger', context, async () => {
    await page.goto(`${PAGES}/`);
    await mark(page);
    const lines = await page.locator('main pre code').first().textContent();
    assert.ok(lines.includes(`WAYBILL_URL=${PAGES}`), lines);
    const folder = mkdtempSync(join(tmpdir(), 'waybill-'));
    writeFileSync(join(folder, 'deploy.sh'), '#!/bin/sh\n');
    chmodSync(join(folder, 'deploy.sh'), 0o755);
    const commit = 'git init -q && git -c user.name=a -c user.email=a@b.c commit -q --allow-empty -m first';
    await shell(commit, folder);
    await shell(lines.replace('…', TOKEN), folder);
    await page.getByRole('link', { name: '1.0.0', exact: true }).waitFor();
    await isMarked(page);
  });

  const token = async (name, ...scopes) => (await call('POST', '/tokens', { name, scopes })).token;
  await call('POST', '/environments', { name: 'prod', tier: 'production', rank: 9 });
  await call('PUT', '/environments/prod/policy', { approval: { required: 1 } });
  const deploy = (secret, version, ...more) => {
    const args = ['deploy', '--service', 'shop', '--environment', 'prod', '--version', version, ...more, '--', 'true'];
    const child = spawn(WAYBILL, args, { env: { PATH: process.env.PATH, WAYBILL_URL: API, WAYBILL_TOKEN: secret } });
    let said = '';
    const hear = (bytes) => (said += bytes);
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    const ended = new Promise((resolve) => child.on('close', (code) => resolve({ code, said, at: performance.now() })));
    const says = async (text) => {
      for (const end = performance.now() + 30_000; !said.includes(text); ) {
        assert.ok(performance.now() < end, `it never said ${text}: ${said}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    };
    return { ended, says };
  };

  await story('a release manager lets a waiting pipeline go on', context, async () => {
    const pipeline = deploy(await token('ci', 'read', 'deploy'), '1.0.0', '--wait', '5m');
    await pipeline.says('waiting for the gate');
    await page.goto(`${PAGES}/`);
    await mark(page);
    const theirs = await open(browser);
    const manager = await theirs.newPage();
    await signIn(manager, PAGES, await token('mira', 'read', 'approve'));
    await manager.goto(`${PAGES}/approvals`);
    await manager.getByText('Approve or reject 1.0.0').click();
    const begun = performance.now();
    await manager.getByRole('button', { name: 'Approve', exact: true }).click();
    const { code, said, at } = await pipeline.ended;
    assert.equal(code, 0, said);
    console.log(`from the click to the end of the deployment: ${Math.round(at - begun)} ms`);
    await page.getByRole('row', { name: /shop/ }).getByRole('link', { name: '1.0.0', exact: true }).nth(1).waitFor();
    await isMarked(page);
    assert.deepEqual(theirs.complaints, []);
    await theirs.close();
  });

  await story('an auditor asks why it was allowed', context, async () => {
    await page.goto(`${PAGES}/`);
    await page.getByRole('searchbox').fill('1.0.0');
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/services\/shop\/releases\/1\.0\.0$/);
    await page.getByRole('row', { name: /prod.*yes/ }).getByRole('link').first().click();
    await page.waitForURL(/\/decisions\//);
    const why = await page.textContent('main');
    assert.match(why, /The gate said\s+yes\s+to shop\s+1\.0\.0\s+into prod/);
    assert.match(why, /version 1 of the policy/);
    assert.match(why, /approval\s+holds/);
    assert.match(why, /mira/);
    assert.match(why, /come to the same/);
  });

  await story('a manager looks at what went to production, and what failed', context, async () => {
    await call('PUT', '/environments/prod/policy', {});
    for (const [version, status] of [['1.1.0', 'failed'], ['1.2.0', 'succeeded']]) {
      const release = { commit_sha: version.replaceAll('.', '').padEnd(40, 'a') };
      const begun = await call('POST', '/deployments', { service: 'shop', environment: 'prod', version, release });
      await call('POST', `/deployments/${begun.deployment.id}/finish`, { status });
    }
    await page.goto(`${PAGES}/deployments?environment=prod`);
    await page.getByRole('link', { name: 'this month' }).click();
    const rows = page.locator('main tbody tr');
    await rows.nth(2).waitFor();
    assert.equal(await rows.count(), 3);
    await page.getByRole('navigation', { name: 'Filters' }).getByRole('link', { name: 'failed', exact: true }).click();
    await page.waitForURL(/status=failed/);
    assert.equal(await rows.count(), 1);
    assert.match(await rows.first().textContent(), /1\.1\.0/);
  });

  await story('a page outlives its server', context, async () => {
    await page.goto(`${PAGES}/`);
    await page.locator('#state .dot').waitFor();
    await mark(page);
    await please('stop');
    await page.getByText(/reconnecting|does not answer/).waitFor();
    await please('start');
    const begun = await call('POST', '/deployments', { service: 'shop', environment: 'dev', version: '1.2.0' });
    await call('POST', `/deployments/${begun.deployment.id}/finish`, { status: 'succeeded' });
    await page.getByRole('link', { name: '1.2.0', exact: true }).nth(1).waitFor();
    await page.getByText(/reconnecting|does not answer/).waitFor({ state: 'detached' });
    await isMarked(page);
    // What the browser itself says of a server that is away.
    context.complaints = context.complaints.filter((one) => !one.includes('net::ERR_'));
  });
});
