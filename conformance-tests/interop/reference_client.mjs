#!/usr/bin/env node
// A client on the TypeScript SDK that does what a client scenario of the official suite wants to see.
//
// usage: MCP_CONFORMANCE_SCENARIO=NAME MODULES=DIR reference_client.mjs URL
//
// MODULES is the folder whose node_modules holds the SDK. The exit code says whether the client saw what it should.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const require = createRequire(join(process.env.MODULES ?? process.cwd(), 'node_modules', 'x.js'));
const load = name => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${name}`)));
const { Client } = await load('client/index.js');
const { StreamableHTTPClientTransport } = await load('client/streamableHttp.js');
const { ElicitRequestSchema } = await load('types.js');

const url = new URL(process.argv[2]);
const scenario = process.env.MCP_CONFORMANCE_SCENARIO;
const LIMIT = { timeout: 20_000 };
const text = result => (result.content ?? []).map(part => part.text).join('\n');

async function connect(capabilities = {}) {
  // With `applyDefaults` the SDK fills in what an accepted form leaves out (SEP-1034).
  const client = new Client({ name: 'trunkline-reference-client', version: '1' }, { capabilities });
  await client.connect(new StreamableHTTPClientTransport(url));
  return client;
}
async function called(client, name, args = {}) {
  const { tools } = await client.listTools();
  assert(tools.some(tool => tool.name === name), `${name} is not listed: ${tools.map(tool => tool.name)}`);
  const result = await client.callTool({ name, arguments: args }, undefined, LIMIT);
  assert(!result.isError, `${name} failed: ${text(result)}`);
  return result;
}

const SCENARIOS = {
  async initialize() {
    const client = await connect();
    await client.listTools();
    return client;
  },
  async tools_call() {
    const client = await connect();
    assert.match(text(await called(client, 'add_numbers', { a: 5, b: 3 })), /\b8\b/);
    return client;
  },
  async 'elicitation-sep1034-client-defaults'() {
    const client = await connect({ elicitation: { form: { applyDefaults: true } } });
    client.setRequestHandler(ElicitRequestSchema, async () => ({ action: 'accept', content: {} }));
    await called(client, 'test_client_elicitation_defaults');
    return client;
  },
  async 'sse-retry'() {
    const client = await connect();
    assert.match(text(await called(client, 'test_reconnection')), /completed successfully/);
    return client;
  },
  async 'json-schema-2020-12-preservation'() {
    const client = await connect();
    const { tools } = await client.listTools();
    const schema = tools.find(tool => tool.name === 'json_schema_2020_12_tool').inputSchema;
    await called(client, 'json_schema_echo', { schema });
    return client;
  },
};

if (!Object.hasOwn(SCENARIOS, scenario)) {
  console.error(`the reference client does not know the scenario ${scenario}: add it to ${process.argv[1]}`);
  process.exit(1);
}
try {
  const client = await SCENARIOS[scenario]();
  await client.close();
  process.exit(0);
} catch (error) {
  console.error(error);
  process.exit(1);
}
