// The certified `oidc-provider` on a free port of 127.0.0.1, with a sign-in form of one field: the
// name that is typed is who signs in. It is told about its client by OP_CONFIG and prints
// {"message":"listening","issuer":…}; the rest is told to it later, at /-/….
//
//   OP_CONFIG   {"client": {…client metadata…}, "accessTokenTtl": 3600}
//   /-/hosts    POST {"auth.example.test": "127.0.0.1:PORT"}: where a host of the client is
//   /-/accounts POST {"name": "ann", "claims": {…}}
//   /-/events   GET  ["backchannel.success", …]

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer, request as plainRequest } from 'node:http';

import { Provider } from 'oidc-provider';

const config = JSON.parse(process.env.OP_CONFIG ?? '{}');
const accounts = new Map();
const hosts = new Map();
const events = [];

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, configuration());
  for (const event of ['backchannel.success', 'backchannel.error', 'server_error']) {
    provider.on(event, (...details) => {
      const error = details.find((detail) => detail instanceof Error);
      events.push(error ? `${event}: ${error.message}` : event);
    });
  }
  const answer = provider.callback();
  server.on('request', (request, response) => {
    const path = request.url.split('?')[0];
    if (path.startsWith('/-/')) return told(request, response, path);
    if (path.startsWith('/interaction/')) {
      return interact(provider, request, response).catch((error) => {
        events.push(`interaction: ${error.message}`);
        page(response, 400, `<h1>${error.name}</h1>`);
      });
    }
    return answer(request, response);
  });
  console.log(JSON.stringify({ message: 'listening', issuer }));
});

function configuration() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return {
    clients: [config.client],
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'op-1', alg: 'RS256', use: 'sig' }] },
    cookies: { keys: [randomBytes(32).toString('hex')] },
    scopes: ['openid', 'offline_access', 'email', 'profile', 'groups'],
    claims: {
      openid: ['sub'],
      email: ['email', 'email_verified'],
      profile: ['name', 'preferred_username', 'groups'],
      groups: ['groups'],
    },
    pkce: { required: () => true },
    ttl: {
      AccessToken: config.accessTokenTtl ?? 3600,
      AuthorizationCode: 60,
      Grant: 86400,
      IdToken: 300,
      Interaction: 600,
      RefreshToken: 86400,
      Session: 86400,
    },
    issueRefreshToken: async (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    findAccount: async (_ctx, name) => ({ accountId: name, claims: async () => claimsOf(name) }),
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: async (ctx, form) => {
          ctx.body = html(`<h1>Sign out of the provider?</h1>${form}
            <button id="yes" form="op.logoutForm" name="logout" value="yes">Yes</button>`);
        },
        postLogoutSuccessSource: async (ctx) => {
          ctx.body = html('<h1>Signed out of the provider</h1>');
        },
      },
    },
    renderError: async (ctx, out) => {
      ctx.type = 'html';
      ctx.body = html(`<h1>${escaped(out.error)}</h1><p>${escaped(out.error_description)}</p>`);
    },
    fetch: toKnownHosts,
  };
}

function claimsOf(name) {
  const told = accounts.get(name) ?? {};
  return {
    sub: name,
    email: `${name}@example.test`,
    email_verified: true,
    preferred_username: name,
    name: `${name} of the provider`,
    ...told,
  };
}

// The sign-in form; consent is given without asking.
async function interact(provider, request, response) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(request, response);
  if (prompt.name === 'login') {
    if (request.method !== 'POST') {
      return page(response, 200, `<h1>Sign in at the provider</h1>
        <form method="post"><label>Name <input name="name" autofocus></label>
        <button type="submit">Continue</button></form>`);
    }
    const form = new URLSearchParams(await read(request));
    const login = { accountId: form.get('name'), amr: ['pwd'] };
    return provider.interactionFinished(request, response, { login }, { mergeWithLastSubmission: false });
  }
  const details = { accountId: session.accountId, clientId: params.client_id };
  const grant = (grantId && (await provider.Grant.find(grantId))) ?? new provider.Grant(details);
  grant.addOIDCScope(params.scope);
  const consent = { grantId: await grant.save() };
  return provider.interactionFinished(request, response, { consent }, { mergeWithLastSubmission: true });
}

async function told(request, response, path) {
  const body = request.method === 'POST' ? JSON.parse(await read(request)) : undefined;
  if (path === '/-/hosts') for (const [host, address] of Object.entries(body)) hosts.set(host, address);
  if (path === '/-/accounts') accounts.set(body.name, body.claims);
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(path === '/-/events' ? events : {}));
}

// `fetch` for hosts that no name server knows: over plain http to where the test says they are.
async function toKnownHosts(url, options) {
  const target = new URL(url);
  const address = hosts.get(target.hostname);
  if (!address) return globalThis.fetch(url, options);
  const [host, port] = address.split(':');
  return new Promise((resolve, reject) => {
    const body = options?.body ? String(options.body) : '';
    const headers = Object.fromEntries(new Headers(options?.headers));
    const sent = plainRequest({
      host,
      port,
      method: options?.method ?? 'GET',
      path: target.pathname + target.search,
      headers: { ...headers, host: target.host, 'content-length': Buffer.byteLength(body) },
    });
    sent.on('error', reject);
    sent.on('response', async (answer) => {
      const text = await read(answer);
      const empty = [204, 304].includes(answer.statusCode);
      resolve(new Response(empty ? null : text, { status: answer.statusCode }));
    });
    sent.end(body);
  });
}

async function read(stream) {
  let text = '';
  for await (const chunk of stream) text += chunk;
  return text;
}

function page(response, status, body) {
  response.writeHead(status, { 'content-type': 'text/html; charset=utf-8' });
  response.end(html(body));
}

function html(body) {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>Provider</title>${body}</html>`;
}

function escaped(text) {
  return String(text ?? '').replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
}
