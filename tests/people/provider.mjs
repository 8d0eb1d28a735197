// An OpenID provider for the tests: `oidc-provider`, which is certified, with people of the tests' own.
// The environment says where the packages are (MODULES), on which PORT, for which REDIRECT_URI, who the PEOPLE are (JSON, by
// the name that they type), by how many seconds the CLOCK is off, and as which ISSUER it goes, where that is another.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const { MODULES, PORT, REDIRECT_URI, PEOPLE, CLOCK = '0', ISSUER = `http://127.0.0.1:${PORT}` } = process.env;
const RealDate = Date;
const offset = Number(CLOCK) * 1000;
if (offset) {
  globalThis.Date = class extends RealDate {
    constructor(...given) {
      super(...(given.length ? given : [RealDate.now() + offset]));
    }
    static now() {
      return RealDate.now() + offset;
    }
  };
}
// What it has to say of its own defaults is for whoever sets one up in earnest.
console.info = console.warn = () => {};
const load = (name) => import(pathToFileURL(createRequire(`${MODULES}/`).resolve(name)));
const { default: Provider } = await load('oidc-provider');
const people = JSON.parse(PEOPLE);

const provider = new Provider(ISSUER, {
  clients: [{ client_id: 'waybill', client_secret: 'the client secret of the tests', redirect_uris: [REDIRECT_URI] }],
  scopes: ['openid', 'profile', 'groups'],
  claims: { openid: ['sub'], profile: ['name'], groups: ['groups'] },
  // The claims are in the ID token, as with most providers.
  conformIdTokenClaims: false,
  cookies: { keys: ['only the tests know it'] },
  features: { devInteractions: { enabled: false } },
  findAccount: (_, sub) => ({
    accountId: sub,
    claims: () => Object.values(people).find((person) => person.sub === sub),
  }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  // Nobody is asked what they consent to.
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({
      clientId: ctx.oidc.client.clientId,
      accountId: ctx.oidc.session.accountId,
    });
    grant.addOIDCScope('openid profile groups');
    await grant.save();
    return grant;
  },
});

const page = (uid) => `<!doctype html><html lang="en"><title>Provider</title>
<form method="post" action="/interaction/${uid}"><label>Name <input name="name" autofocus></label><button>Sign in</button></form>`;

provider.use(async (ctx, next) => {
  const uid = ctx.path.match(/^\/interaction\/([\w-]+)$/)?.[1];
  if (!uid) return next();
  if (ctx.method === 'GET') {
    ctx.type = 'html';
    ctx.body = page(uid);
    return;
  }
  const chunks = [];
  for await (const chunk of ctx.req) chunks.push(chunk);
  const name = new URLSearchParams(Buffer.concat(chunks).toString()).get('name');
  await provider.interactionFinished(ctx.req, ctx.res, name in people
    ? { login: { accountId: people[name].sub } }
    : { error: 'access_denied', error_description: 'nobody of that name' });
  ctx.respond = false;
});

provider.on('server_error', (_, error) => console.error(error));

provider.listen(Number(PORT), '127.0.0.1', () => console.log('ready'));
