// A real Chromium looks at every page of a ledger that is full of what hostile clients have written, on a phone, on a screen and on
// paper. The environment says, besides what `chromium.mjs` takes, where the server is (SERVER), a TOKEN for it, and the PATHS to look
// at as JSON. Whatever is written would set `window.ran`, if it were more than text.
import assert from 'node:assert/strict';
import { open, run, signIn, story } from './chromium.mjs';

const { SERVER, TOKEN, PATHS } = process.env;

// What is wrong with the page that is shown, as far as a reader would notice.
function faults() {
  const found = [];
  const root = document.documentElement;
  if (window.ran) found.push('something written by others has run');
  if (document.querySelector('img, b, script:not([src]), [onerror], [onmouseover]')) found.push('something written by others is markup');
  if (root.scrollWidth > root.clientWidth) found.push(`it hangs over by ${root.scrollWidth - root.clientWidth} pixels`);
  // Of each text the words of ours and others that are in Latin letters run from left to right.
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    const words = [...node.data.slice(0, 4000).matchAll(/[A-Za-z]{3,}/g)];
    for (const { index } of [words[0], words.at(-1)].filter(Boolean)) {
      const range = document.createRange();
      const [one, other] = [0, 1].map((step) => {
        range.setStart(node, index + step);
        range.setEnd(node, index + step + 1);
        return range.getBoundingClientRect();
      });
      if (one.width && one.top === other.top && one.left >= other.left) {
        found.push(`it is turned around from "${node.data.slice(index, index + 60)}"`);
      }
    }
  }
  // What hides or turns around is neither in what is read nor in what is read aloud.
  const told = [document.title, document.body.innerText];
  for (const one of document.querySelectorAll('[title], [aria-label]')) told.push(one.title, one.ariaLabel ?? '');
  if (told.some((text) => /[\u200b\u202a-\u202e\u2066-\u2069]/.test(text))) found.push('something hides');
  for (const one of document.querySelectorAll('a[href], button, summary, input:not([type=hidden]), select, textarea')) {
    if (!one.checkVisibility() || one.matches('.skip') || one.closest('svg')) continue;
    const { left, right, width, height } = one.getBoundingClientRect();
    const clipped = (box) => left >= box.right || right <= box.left;
    const scrolls = (place) => /auto|scroll/.test(getComputedStyle(place).overflowX);
    let place = one.parentElement;
    while (place && !scrolls(place) && !(getComputedStyle(place).overflowX === 'hidden' && clipped(place.getBoundingClientRect()))) place = place.parentElement;
    const isLost = place ? !scrolls(place) : left >= root.clientWidth || right <= 0;
    if (!width || !height || isLost) found.push(`nobody sees ${one.outerHTML.slice(0, 120)}`);
  }
  // Nobody scrolls further than this for the end of a row.
  for (const place of document.querySelectorAll('.scroll, .board')) {
    if (place.scrollWidth > 3000) found.push(`${place.ariaLabel} is ${place.scrollWidth} pixels wide`);
  }
  return found;
}

await run(async (browser) => {
  const context = await open(browser);
  const page = await context.newPage();
  const wrong = [];
  const look = async (path, how) => {
    const answer = await page.goto(SERVER + path);
    assert.ok([200, 404].includes(answer.status()), `${path}: ${answer.status()}`);
    wrong.push(...(await page.evaluate(faults)).map((fault) => `${path.slice(0, 60)} ${how}: ${fault}`));
    if (process.env.PICTURES) await page.screenshot({ path: `${process.env.PICTURES}/${how}${path.replaceAll(/\W+/g, '-').replaceAll(/([se9])\1{9,}/g, '$1').slice(0, 60)}.png`, fullPage: true });
  };

  await story('whatever is written is text, and breaks no page', context, async () => {
    await signIn(page, SERVER, TOKEN);
    for (const width of [360, 1280]) {
      await page.setViewportSize({ width, height: 800 });
      for (const path of JSON.parse(PATHS)) await look(path, width);
    }
    // As wide as A4 within its margins.
    await page.setViewportSize({ width: 718, height: 1000 });
    await page.emulateMedia({ media: 'print' });
    for (const path of JSON.parse(PATHS)) await look(path, 'paper');
    assert.deepEqual(wrong, []);
    // Chromium itself complains of the page that is not there.
    context.complaints = context.complaints.filter((one) => !/status of 404/.test(one));
  });

  await story('what somebody else wrote is edited without being changed', context, async () => {
    await page.emulateMedia({ media: null });
    const path = JSON.parse(PATHS).find((path) => path.startsWith('/freeze-windows/'));
    const reason = async () => {
      await page.goto(SERVER + path);
      return page.getByLabel('Reason').inputValue();
    };
    const before = await reason();
    assert.ok(before.includes('\u202edesrever'), before);
    await page.locator('#edit button').first().click();
    await page.waitForLoadState();
    assert.equal(await reason(), before);
  });
});
