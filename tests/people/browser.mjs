// A real Chromium signs in, looks around and signs out, and pages of somebody else try to use what it has. The environment
// says, besides what `chromium.mjs` takes, where the server is (SERVER, in the clear), the certificate
// and key of the proxy in front of it (CERT, KEY), the ports of that (PORT) and of the others (EVIL_PORT), and a folder for
// PICTURES, if any are wanted. Ends with an error at the first thing that is not as it should be.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { launch } from './chromium.mjs';

const { SERVER, CERT, KEY, PORT, EVIL_PORT, PICTURES } = process.env;
const tls = { cert: readFileSync(CERT), key: readFileSync(KEY) };
const site = `https://waybill.test:${PORT}`;
// Another host of the same domain, and another domain.
const sibling = `https://evil.waybill.test:${EVIL_PORT}`;
const stranger = `https://evil.test:${EVIL_PORT}`;

// The proxy that ends TLS, as in front of a real server.
const proxy = https.createServer(tls, (request, response) => {
  const { hostname, port } = new URL(SERVER);
  const { method, url: path, headers } = request;
  const onward = http.request({ hostname, port, method, path, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.rawHeaders);
    answer.pipe(response);
  });
  onward.on('error', () => response.destroy());
  request.pipe(onward);
});

// What others serve: a form that sends itself, a script that fetches, and cookies of our name.
const evil = https.createServer(tls, (request, response) => {
  const { pathname } = new URL(request.url, 'https://x');
  const pages = {
    '/form': `<form method="post" action="${site}/logout"><input name="csrf" value="x"></form><script>document.forms[0].submit()</script>`,
    '/fetch': `<script>fetch('${site}/api/v1/services', { method: 'POST', credentials: 'include', mode: 'no-cors',
      headers: { 'content-type': 'text/plain' }, body: '{"name":"stolen"}' }).finally(() => { document.title = 'sent' })</script>`,
    '/read': `<script>fetch('${site}/api/v1/sessions', { credentials: 'include' })
      .then((answer) => answer.text()).then((text) => { document.title = text }, () => { document.title = 'refused' })</script>`,
    '/frame': `<iframe src="${site}/account"></iframe>`,
  };
  const cookies = ['__Host-waybill=planted; Secure; Path=/; Domain=waybill.test', 'waybill=planted; Domain=waybill.test; Path=/',
    '__Host-waybill=planted; Path=/'];
  response.writeHead(200, { 'content-type': 'text/html', ...(pathname === '/cookie' ? { 'set-cookie': cookies } : {}) });
  response.end(`<!doctype html><title>evil</title>${pages[pathname] ?? ''}`);
});
await new Promise((done) => proxy.listen(PORT, '127.0.0.1', done));
await new Promise((done) => evil.listen(EVIL_PORT, '127.0.0.1', done));

const browser = await launch('--host-resolver-rules=MAP *.test 127.0.0.1');
const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1100, height: 760 } });
context.setDefaultTimeout(15_000);
const complaints = [];
const watch = (page) => {
  page.on('console', (message) => message.type() === 'error' && page.url().startsWith(site) && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(String(error)));
};
context.on('page', watch);
const picture = async (page, name) => PICTURES && page.screenshot({ path: `${PICTURES}/${name}.png`, fullPage: true });
const says = async (page, text) => assert.ok((await page.textContent('main')).includes(text), `${page.url()} lacks: ${text}`);
const session = async () => (await context.cookies(site)).find((cookie) => cookie.name === '__Host-waybill');
const signIn = async (page, name) => {
  await page.getByRole('link', { name: /Sign in with/ }).click();
  await page.getByLabel('Name').fill(name);
  await page.getByRole('button').click();
};

try {
  const page = await context.newPage();

  // Sign in: a link leads to the issuer, and the issuer back to where one wanted to go.
  await page.goto(`${site}/account`);
  assert.match(page.url(), /\/login\?to=%2Faccount$/);
  await picture(page, 'login-light');
  await page.emulateMedia({ colorScheme: 'dark' });
  await picture(page, 'login-dark');
  await signIn(page, 'ada');
  await page.waitForURL(`${site}/account`);
  await says(page, 'Ada Lovelace');
  await says(page, 'release-managers');
  await picture(page, 'account-dark');
  await page.emulateMedia({ colorScheme: 'light' });
  await picture(page, 'account-light');
  await page.setViewportSize({ width: 360, height: 740 });
  assert.ok(await page.evaluate('document.documentElement.scrollWidth <= 360'), 'nothing hangs over on a phone');
  await picture(page, 'account-phone');
  await page.setViewportSize({ width: 1100, height: 760 });
  const first = await session();
  assert.deepEqual([first.httpOnly, first.secure, first.sameSite, first.domain], [true, true, 'Lax', 'waybill.test']);
  assert.equal(await page.evaluate('document.cookie'), '', 'no script reads it');

  // The back button leads through the issuer and not into an error; signing in twice leaves one session.
  await page.goBack();
  await page.goto(`${site}/login`);
  await page.waitForURL(`${site}/account`);

  // Two tabs, signed in one after the other where both had begun.
  const tabs = [await context.newPage(), await context.newPage()];
  for (const tab of tabs) await tab.goto(`${site}/login/start?to=/login/device`);
  for (const tab of tabs) await tab.waitForURL(`${site}/login/device`);
  for (const tab of tabs) {
    await tab.reload();
    await says(tab, 'Let a command line in');
    await tab.close();
  }
  const second = await session();
  assert.notEqual(second.value, first.value, 'each sign-in makes a secret of its own');
  assert.equal(complaints.length, 0, complaints.join('\n'));

  // Cookies of a sibling do not take the place of ours.
  const other = await context.newPage();
  await other.goto(`${sibling}/cookie`);
  await page.reload();
  await says(page, 'Ada Lovelace');
  assert.equal((await session()).value, second.value);

  // Pages of others: a form, a script that changes, one that reads, and a frame.
  for (const origin of [sibling, stranger]) {
    await other.goto(`${origin}/form`);
    await other.waitForURL(`${site}/logout`).catch(() => {});
    await page.reload();
    await says(page, 'Ada Lovelace');
    await other.goto(`${origin}/fetch`);
    await other.waitForFunction("document.title === 'sent'");
    await other.goto(`${origin}/read`);
    await other.waitForFunction("document.title === 'refused'");
    await other.goto(`${origin}/frame`);
    const framed = other.frames().find((frame) => frame !== other.mainFrame());
    await framed.waitForLoadState();
    assert.ok(!(await framed.content()).includes('Ada Lovelace'), 'nobody frames a page of ours');
  }
  const services = await page.evaluate("fetch('/api/v1/services').then((answer) => answer.json())").catch(() => null);
  assert.equal(services, null, 'not even our own pages run scripts that fetch');
  const listed = await other.goto(`${site}/api/v1/services`);
  assert.deepEqual((await listed.json()).items, [], 'nothing was made by anybody');
  await other.close();
  complaints.length = 0;

  // By keyboard alone: skip link, then out.
  await page.reload();
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate('document.activeElement.className'), 'skip');
  await page.getByRole('button', { name: 'Sign out' }).focus();
  await page.keyboard.press('Enter');
  await page.waitForURL(`${site}/login?said=signed-out`);
  assert.equal(await session(), undefined);
  await picture(page, 'signed-out');

  // What the back button brings is asked for anew, and nobody is signed in.
  await page.goBack();
  await page.waitForURL(/\/login\?to=/);
  assert.ok(!(await page.textContent('body')).includes('Ada Lovelace'));

  // Somebody without groups is told whom to ask. The issuer remembers ada, so that another browser it is.
  const eves = await browser.newContext({ ignoreHTTPSErrors: true });
  const eve = await eves.newPage();
  await eve.goto(`${site}/login`);
  await signIn(eve, 'eve');
  await eve.waitForURL(`${site}/account`);
  await says(eve, 'Ask whoever administers Waybill');
  await picture(eve, 'no-role');
  assert.equal(complaints.length, 0, complaints.join('\n'));
  console.log('ok');
} finally {
  await browser.close();
  proxy.closeAllConnections();
  evil.closeAllConnections();
  proxy.close();
  evil.close();
}
