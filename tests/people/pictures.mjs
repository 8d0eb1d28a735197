// Whether the pages that the README pictures are still built as they were pictured. The environment says, besides what `chromium.mjs`
// takes, where a server with an empty ledger is (SERVER), its TOKEN, and in which FOLDER is written how they were built.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { open, run, signIn, story } from './chromium.mjs';
import { history, outline, PAGES } from './pictured.mjs';

const { SERVER, TOKEN, FOLDER } = process.env;

await history(SERVER, TOKEN);
await run(async (browser) => {
  const context = await open(browser, { viewport: { width: 1280, height: 740 } });
  const page = await context.newPage();
  await signIn(page, SERVER, TOKEN);
  for (const [name, path] of Object.entries(PAGES)) {
    await story(`${name}.png shows the page as it is built`, context, async () => {
      await page.goto(SERVER + path);
      assert.equal(await outline(page), readFileSync(`${FOLDER}/${name}.txt`, 'utf8'), 'scripts/screenshots makes the pictures anew');
    });
  }
});
