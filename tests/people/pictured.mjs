// What the README's pictures show: three weeks of history, the pages, and how each is built. `scripts/screenshots` pictures them and
// writes down how they are built; a test compares.
import { createHash } from 'node:crypto';
import { api } from './chromium.mjs';

const HOUR = 3_600_000;
const begin = Date.now();
const ago = (hours) => new Date(begin - hours * HOUR).toISOString();
const hash = (text, length) => createHash('sha256').update(text).digest('hex').slice(0, length);

const titles = ['Round prices half to even', 'Retry the ledger once', 'Show delivery dates', 'Drop the old checkout'];

function release(service, version, hours) {
  const changes = titles.map((title, n) => ({ sha: hash(service + version + n, 40), title, committed_at: ago(hours + 2) }));
  return {
    commit_sha: changes[0].sha,
    image: `registry.example.com/${service}@sha256:${hash(service + version, 64)}`,
    committed_at: ago(hours + 2),
    changes: changes.slice(0, 1 + (version.length % titles.length)),
  };
}

// Puts the history into the empty ledger of a server.
export async function history(server, token) {
  const call = api(server, token);
  // What is refused belongs to the history, too.
  const send = (method, path, body) => call(method, path, body, [200, 201, 409]);

  async function deployed(service, environment, version, hours, status = 'succeeded', initiated_by = 'ada') {
    const times = { started_at: ago(hours), finished_at: new Date(begin - hours * HOUR + 94_000).toISOString() };
    await send('POST', '/deployments/record', { service, environment, version, status, initiated_by, ...times, release: release(service, version, hours) });
  }

  for (const [rank, name] of ['dev', 'staging', 'prod'].entries()) await send('POST', '/environments', { name, rank });
  const people = ['ada', 'mira', 'tom'];
  for (const [nth, service] of ['cart', 'checkout', 'delivery', 'login', 'mail', 'search', 'stock'].entries()) {
    await send('POST', '/services', { name: service, owner: ['web', 'payments', 'logistics'][nth % 3] });
    const by = (n) => people[(nth + n) % people.length];
    for (const [n, version] of ['2.3.0', '2.4.0', '2.4.1', '2.5.0'].entries()) {
      const hours = 500 - n * 120 - nth * 7;
      await deployed(service, 'dev', version, hours, 'succeeded', by(n));
      if (n < 3 || nth % 2) await deployed(service, 'staging', version, hours - 5, 'succeeded', by(n));
      if (n < 2 || nth % 3 === 0) await deployed(service, 'prod', version, hours - 30, n === 1 && nth === 3 ? 'failed' : 'succeeded', by(n));
    }
  }
  await send('PUT', '/environments/prod/policy', {
    promotion: { from: ['staging'], soak_seconds: 3600 },
    approval: { required: 1 },
    vulnerabilities: { max: { critical: 0 } },
  });
  await send('PUT', '/environments/staging/lockdown', { reason: 'load test until noon' });
  await send('POST', '/services/checkout/releases/2.5.0/scans', {
    scanner: 'trivy', scanned_at: ago(1), counts: { critical: 1, high: 2, medium: 7, low: 12, unknown: 0 },
  });
  const { deployment } = await send('POST', '/deployments', { service: 'search', environment: 'dev', version: '2.6.0', initiated_by: 'mira', release: release('search', '2.6.0', 1) });
  await send('POST', `/deployments/${deployment.id}/heartbeat`, { phase: 'canary', traffic_percent: 25 });
}

// The pages, by the names of their pictures.
export const PAGES = { board: '/', target: '/services/checkout/environments/prod' };

// How the page that is shown is built: its landmarks, headings, heads of columns and rows, fields and buttons, in their order.
export const outline = (page) => page.evaluate(() => {
  const kinds = {
    NAV: 'navigation', MAIN: 'main', FORM: 'form', TABLE: 'table', LABEL: 'field', BUTTON: 'button', SUMMARY: 'unfolds', DT: 'term',
    H1: 'heading 1', H2: 'heading 2', H3: 'heading 3',
  };
  const kind = (one) => (one.tagName === 'TH' ? `head of ${one.scope}` : kinds[one.tagName] ?? 'region');
  const text = (one) => (one.matches('nav, main, form, table, section, [role=region]') ? one.ariaLabel ?? '' : one.innerText);
  const all = document.querySelectorAll('nav, main, form, [role=region], table, th, h1, h2, h3, dt, label, button, summary');
  const lines = [...all].filter((one) => one.checkVisibility()).map((one) => `${kind(one)} ${text(one).replace(/\s+/g, ' ')}`.trim());
  return `${lines.join('\n')}\n`;
});
