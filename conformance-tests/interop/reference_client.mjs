#!/usr/bin/env node
// A client on the TypeScript SDK that does what a client scenario of the official suite wants to see.
//
// usage: MCP_CONFORMANCE_SCENARIO=NAME [MCP_CONFORMANCE_CONTEXT=JSON] MODULES=DIR ERA=handshake|stateless
//        reference_client.mjs URL
//
// MODULES is the folder whose node_modules holds the SDK: version 1 speaks the handshake era, version 2 here only the
// stateless one. The exit code says whether the client saw what it should.
// With BEHIND_GATEWAY it leaves to the gateway what a gateway has to do for clients that do not know of it.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const { ERA = 'handshake', MODULES = process.cwd(), BEHIND_GATEWAY } = process.env;
const require = createRequire(join(MODULES, 'node_modules', 'x.js'));
const resolve = name => import(pathToFileURL(require.resolve(`@modelcontextprotocol/${name}`)));
const isStateless = ERA === 'stateless';

const url = new URL(process.argv[2]);
const scenario = process.env.MCP_CONFORMANCE_SCENARIO;
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}');
const LIMIT = { timeout: 20_000 };
const text = result => (result.content ?? []).map(part => part.text).join('\n');

// With `applyDefaults` the SDK fills in what an accepted form leaves out (SEP-1034).
const ELICITS = { elicitation: { form: { applyDefaults: true } } };

async function connect(capabilities = {}, elicited = async () => ({ action: 'accept', content: {} })) {
  const name = { name: 'trunkline-reference-client', version: '1' };
  let client, transport;
  if (isStateless) {
    const { Client, StreamableHTTPClientTransport } = await resolve('client');
    client = new Client(name, { capabilities, versionNegotiation: { mode: { pin: '2026-07-28' } } });
    transport = new StreamableHTTPClientTransport(url);
    if (capabilities.elicitation) client.setRequestHandler('elicitation/create', elicited);
  } else {
    const { Client } = await resolve('sdk/client/index.js');
    const { StreamableHTTPClientTransport } = await resolve('sdk/client/streamableHttp.js');
    const { ElicitRequestSchema } = await resolve('sdk/types.js');
    client = new Client(name, { capabilities });
    transport = new StreamableHTTPClientTransport(url);
    if (capabilities.elicitation) client.setRequestHandler(ElicitRequestSchema, elicited);
  }
  await client.connect(transport);
  return client;
}
const call = (client, name, args = {}) =>
  isStateless ? client.callTool({ name, arguments: args }, LIMIT) : client.callTool({ name, arguments: args }, undefined, LIMIT);
async function called(client, name, args = {}) {
  const { tools } = await client.listTools();
  assert(tools.some(tool => tool.name === name), `${name} is not listed: ${tools.map(tool => tool.name)}`);
  const result = await call(client, name, args);
  assert(!result.isError, `${name} failed: ${text(result)}`);
  return result;
}
// The names of the tools as they come, also those that the SDK would leave out.
async function listedPlainly() {
  const meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': {},
    'io.modelcontextprotocol/clientInfo': { name: 'trunkline-plain-client', version: '1' },
  };
  const answer = await fetch(url, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      Accept: 'application/json, text/event-stream',
      'MCP-Protocol-Version': '2026-07-28',
      'Mcp-Method': 'tools/list',
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list', params: { _meta: meta } }),
  });
  const body = await answer.text();
  const { result, error } = JSON.parse(body.startsWith('{') ? body : body.replace(/^[^]*?data: (?=\{)/, ''));
  assert(result, `tools/list failed: ${JSON.stringify(error)}`);
  return result.tools.map(tool => tool.name);
}
async function skills() {
  assert(isStateless, 'only version 2 of the SDK knows skills');
  const client = await connect();
  const { SkillsClient } = await resolve('client/ext/skills');
  const known = new SkillsClient(client);
  const { skills: [skill] } = await known.list();
  assert(skill, 'no skill is listed');
  return { client, known, skill };
}
// A skill whose instructions are not what its entry says is refused before anything else of it is read.
async function refused(reason) {
  const { client, known, skill } = await skills();
  await assert.rejects(async () => {
    await known.read(skill);
    await known.read(skill, 'references/FORMS.md');
  }, error => error.reason === reason || assert.fail(`expected ${reason}, came ${error}`));
  return client;
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
    const client = await connect(ELICITS);
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
  async 'json-schema-ref-no-deref'() {
    const client = await connect();
    const { tools } = await client.listTools();
    assert(tools.length, 'no tool is listed');
    return client;
  },
  async 'request-metadata'() {
    const client = await connect({ ...ELICITS, sampling: {}, roots: {} });
    await client.listTools();
    return client;
  },
  async 'sep-2322-client-request-state'() {
    let unrelated = '';
    const client = await connect(ELICITS, async () => {
      // In the midst of a round of the other tool.
      unrelated ||= text(await call(client, 'test_mrtr_unrelated'));
      return { action: 'accept', content: { confirmed: true } };
    });
    assert.equal(text(await called(client, 'test_mrtr_echo_state')), 'echo-state-ok');
    assert.equal(unrelated, 'unrelated-ok');
    assert.equal(text(await called(client, 'test_mrtr_no_state')), 'no-state-ok');
    // Version 2 of the SDK refuses such a result itself; behind a gateway it has a `resultType`.
    const last = called(client, 'test_mrtr_no_result_type').then(text, error => `${error}`);
    assert.match(await last, isStateless && !BEHIND_GATEWAY ? /missing required resultType/ : /^no-result-type-test-ok$/);
    return client;
  },
  async 'http-standard-headers'() {
    const client = await connect();
    const { tools } = await client.listTools();
    for (const { name } of tools) await call(client, name);
    const { resources } = await client.listResources();
    for (const { uri } of resources) await client.readResource({ uri });
    const { prompts } = await client.listPrompts();
    for (const { name } of prompts) await client.getPrompt({ name });
    assert(tools.length && resources.length && prompts.length, 'something is not listed');
    return client;
  },
  async 'http-custom-headers'() {
    const client = await connect();
    const { toolCalls } = context;
    assert(toolCalls?.length, 'the suite does not say what to call');
    for (const { name, arguments: args } of toolCalls) await called(client, name, args);
    return client;
  },
  async 'http-invalid-tool-headers'() {
    const client = await connect();
    const names = BEHIND_GATEWAY && isStateless ? await listedPlainly() : (await client.listTools()).tools.map(tool => tool.name);
    for (const name of names) await call(client, name, { region: 'us-west1' });
    return client;
  },
  async 'sep-2640-client-no-prefetch'() {
    const { client } = await skills();
    return client;
  },
  'sep-2640-client-verify-digest': () => refused('digest'),
  'sep-2640-client-verify-size': () => refused('size'),
  'sep-2640-client-verify-frontmatter': () => refused('frontmatter'),
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
