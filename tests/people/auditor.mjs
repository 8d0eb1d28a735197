// "Why was 1.4.2 allowed in March?": an auditor finds it in a real Chromium, and is told by what it was decided and what is
// otherwise today. The environment says, besides what `chromium.mjs` takes, where the server is (SERVER), the auditor's TOKEN, and on
// which DAY it was.
import assert from 'node:assert/strict';
import { open, run, signIn, story } from './chromium.mjs';

const { SERVER, TOKEN, DAY } = process.env;
const month = DAY.slice(0, 8);

await run(async (browser) => {
  const context = await open(browser);
  const page = await context.newPage();
  await signIn(page, SERVER, TOKEN);
  const click = (place, name) => page.getByRole(place).getByRole('link', { name, exact: true }).first().click();

  await story('an auditor finds what was deployed in March', context, async () => {
    await click('banner', 'Services');
    await click('main', 'shop');
    await click('main', 'all its deployments');
    await page.getByLabel('Since').fill(`${month}01`);
    await page.getByLabel('Before').fill(`${DAY.slice(0, 5)}04-01`);
    await page.getByRole('main').getByRole('button', { name: 'Show' }).click();
    await page.waitForURL(/since=/);
    const rows = page.locator('main tbody tr');
    assert.equal(await rows.count(), 2, 'and nothing of what came after');
    const row = page.getByRole('row', { name: /prod/ });
    assert.match(await row.textContent(), /1\.4\.2.*succeeded.*ada/);
    await row.getByRole('link').first().click();
    await click('main', 'why it was let through');
    await page.waitForURL(/\/decisions\//);
  });

  await story('and why: each rule as it was then, and what is otherwise today', context, async () => {
    if (process.env.PICTURES) await page.screenshot({ path: `${process.env.PICTURES}/auditor.png`, fullPage: true });
    assert.match(await page.locator('h1').textContent(), /^The gate said yes to shop 1\.4\.2 into prod$/);
    const facts = await page.locator('main .sheet').first().innerText();
    assert.ok(facts.includes(DAY), facts);
    assert.match(facts, /version 1 of the policy of prod/);
    assert.match(facts, /ci with token ci-\d+, for a deploy/);
    const rule = async (name) => (await page.locator('ol.rules > li').filter({ has: page.locator(`strong:text-is("${name}")`) }).innerText()).replaceAll(/\s+/g, ' ');
    const approval = await rule('approval');
    assert.match(approval, /approval holds/);
    assert.match(approval, /The policy then 1 of release-managers approves/);
    assert.match(approval, new RegExp(`approved: by mira for release-managers, ${DAY} [\\d:]+ UTC initiated or recorded by: ada, ci`));
    assert.match(await rule('promotion'), /promotion holds.*staging/);
    assert.match(await rule('vulnerabilities'), new RegExp(`vulnerabilities holds.*at most 0 critical.*trivy of ${DAY} [\\d:]+ UTC: 0 critical, 2 high`));
    const again = (await page.locator('main .sheet').last().innerText()).replaceAll(/\s+/g, ' ');
    assert.match(again, /By the facts and the policy of then, the rules of this version come to the same\./);
    assert.match(again, /Asked the same now, the gate says no/);
    const differs = page.getByRole('region', { name: 'What differs today' });
    for (const name of ['approval', 'vulnerabilities', 'outdated']) {
      assert.match(await differs.getByRole('row', { name: new RegExp(`^${name}`) }).innerText(), /pass.*fail/s);
    }
    assert.match(again, /approval: 0 of 2; .*not counted: mira: expired 2 more of release-managers must approve it/);
  });

  await story('and what the one who approved it said, what ran there then, and that nobody has changed the record', context, async () => {
    await click('main', '1.4.2');
    await page.waitForURL(/\/releases\/1\.4\.2$/);
    assert.match(await page.getByRole('region', { name: 'Approvals' }).innerText(), /mira\s+approved\s+prod\s+release-managers\s+the refunds are right again, seen in staging/);
    await page.goto(`${SERVER}/services/shop/environments/prod?as_of=${month}20`);
    const then = await page.textContent('main');
    assert.match(then, /This is how it was at/);
    assert.match(then, /1\.4\.2/);
    assert.doesNotMatch(then, /1\.5\.0/);
    await page.goto(`${SERVER}/audit?service=shop&order=oldest-first`);
    const log = await page.textContent('main');
    for (const kind of ['approval.approved', 'deployment.started', 'deployment.succeeded']) assert.ok(log.includes(kind), `${kind}: ${log}`);
    assert.match(log, /waybill audit verify --head \d+:[0-9a-f]{64}/);
  });
});
