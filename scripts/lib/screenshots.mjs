// Puts three weeks of history into the empty ledger of SERVER with its TOKEN, and pictures of its pages with how they are built into
// FOLDER. The environment says besides what `chromium.mjs` takes.
import { writeFileSync } from 'node:fs';
import { run, signIn } from '../../tests/people/chromium.mjs';
import { history, outline, PAGES } from '../../tests/people/pictured.mjs';

const { SERVER, TOKEN, FOLDER } = process.env;

await history(SERVER, TOKEN);
await run(async (browser) => {
  const page = await browser.newPage({ viewport: { width: 1280, height: 740 }, colorScheme: 'light' });
  await signIn(page, SERVER, TOKEN);
  for (const [name, path] of Object.entries(PAGES)) {
    await page.goto(SERVER + path);
    await page.screenshot({ path: `${FOLDER}/${name}.png` });
    writeFileSync(`${FOLDER}/${name}.txt`, await outline(page));
  }
});
