// Sets up a fresh n8n without a browser: owner, MCP access, MCP token, sample workflows.
// usage: node n8n-setup.mjs BASE_URL FOLDER
// FOLDER gets owner.json (the random password) and token, both readable by their owner only.
// Runs at every start and does only what is still missing.
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [base, folder] = process.argv.slice(2);
const ownerFile = join(folder, 'owner.json');
const tokenFile = join(folder, 'token');
let cookie = '';

async function rest(method, path, body) {
  const response = await fetch(`${base}/rest${path}`, {
    method,
    headers: { 'content-type': 'application/json', ...(cookie && { cookie }) },
    body: body && JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} /rest${path}: ${response.status} ${text.slice(0, 300)}`);
  const cookies = response.headers.getSetCookie().map((line) => line.split(';')[0]);
  if (cookies.length) cookie = cookies.join('; ');
  return JSON.parse(text).data;
}

function writeSecret(file, text) {
  writeFileSync(`${file}.new`, text, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

async function tokenWorks() {
  if (!existsSync(tokenFile)) return false;
  const response = await fetch(`${base}/mcp-server/http`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${readFileSync(tokenFile, 'utf8').trim()}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'run', version: '1' } },
    }),
  });
  await response.text();
  return response.ok;
}

// The port is open before the application behind it is.
async function untilUp() {
  let last;
  for (let i = 0; i < 240; i += 1) {
    try {
      const settings = await rest('GET', '/settings');
      if (settings) return settings;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  throw last ?? new Error('n8n did not come up');
}

const node = (name, type, typeVersion, x, parameters) => ({
  id: crypto.randomUUID(), name, type, typeVersion, position: [x, 0], parameters,
});
const samples = [
  {
    name: 'Greet a customer',
    description: 'Answers a web call with a greeting.',
    nodes: [
      node('Webhook', 'n8n-nodes-base.webhook', 2, 0, {
        path: 'greet', httpMethod: 'POST', responseMode: 'lastNode', options: {},
      }),
      node('Greeting', 'n8n-nodes-base.set', 3.4, 220, {
        assignments: {
          assignments: [{ id: '1', name: 'greeting', type: 'string', value: '=Hello {{ $json.body?.name ?? "you" }}' }],
        },
        options: {},
      }),
    ],
    connections: { Webhook: { main: [[{ node: 'Greeting', type: 'main', index: 0 }]] } },
  },
  {
    name: 'Nightly report',
    description: 'Every night: a short summary (sample without effects).',
    nodes: [
      node('Every night', 'n8n-nodes-base.scheduleTrigger', 1.2, 0, {
        rule: { interval: [{ field: 'days', triggerAtHour: 2 }] },
      }),
      node('Summary', 'n8n-nodes-base.set', 3.4, 220, {
        assignments: { assignments: [{ id: '1', name: 'rows', type: 'number', value: 200 }] },
        options: {},
      }),
    ],
    connections: { 'Every night': { main: [[{ node: 'Summary', type: 'main', index: 0 }]] } },
  },
];

const settings = await untilUp();
if (await tokenWorks()) process.exit(0);

if (settings.userManagement?.showSetupOnFirstLoad) {
  // n8n wants a capital letter and a digit. Written before it is used: a lost password is a lost instance.
  const owner = { email: 'owner@example.com', password: `N8n-${randomBytes(18).toString('hex')}` };
  writeSecret(ownerFile, `${JSON.stringify(owner)}\n`);
  await rest('POST', '/owner/setup', { ...owner, firstName: 'Local', lastName: 'Owner' });
  cookie = '';
}
if (!existsSync(ownerFile)) throw new Error(`this n8n has an owner already, and ${ownerFile} is missing`);
const { email, password } = JSON.parse(readFileSync(ownerFile, 'utf8'));
await rest('POST', '/login', { emailOrLdapLoginId: email, password });
await rest('PATCH', '/mcp/settings', { mcpAccessEnabled: true });

const known = new Set((await rest('GET', '/workflows')).map((workflow) => workflow.name));
for (const sample of samples) {
  if (known.has(sample.name)) continue;
  await rest('POST', '/workflows', { ...sample, settings: { executionOrder: 'v1', availableInMCP: true } });
}

const { apiKey } = await rest('POST', '/mcp/api-key/rotate');
writeSecret(tokenFile, `${apiKey}\n`);
if (!(await tokenWorks())) throw new Error('n8n does not accept the token that it has just made');
console.log('n8n is set up');
