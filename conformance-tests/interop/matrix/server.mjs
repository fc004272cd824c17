#!/usr/bin/env node
// The upstream of the matrix, by the TypeScript SDK (low-level server of @modelcontextprotocol/sdk 1.x).
//
// usage: server.mjs --transport streamable|sse|stdio [--port N] [--scheme matrix] [--modules DIR]
//
// What it offers stands in things.json; server.py offers the same. It listens on 127.0.0.1, at /mcp or /sse.
// --modules is the folder whose node_modules holds the SDK. What the SDK cannot do (tried) stands in README.md.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: {
    transport: { type: 'string', default: 'streamable' },
    port: { type: 'string', default: '0' },
    scheme: { type: 'string', default: 'matrix' },
    modules: { type: 'string', default: process.cwd() },
  },
});
const require = createRequire(join(resolve(options.modules), 'node_modules', 'x.js'));
const load = name => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${name}`)));
const types = await load('types.js');
const { Server } = await load('server/index.js');
const { version } = JSON.parse(readFileSync(join(options.modules, 'node_modules/@modelcontextprotocol/sdk/package.json')));
const at = path => `${options.scheme}://${path}`;
const THINGS = JSON.parse(readFileSync(new URL('things.json', import.meta.url), 'utf8').replaceAll('matrix://', at('')));
const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];

// Of the whole process, whatever the session.
const sessions = new Set();
const added = { tools: [], prompts: [], resources: [] };
const cancelled = new Map();

class Own extends types.McpError {} // what this server refuses itself, not what a client refused it
const said = (text, more = {}) => ({ content: [{ type: 'text', text }], ...more });
const told = data => said(JSON.stringify(data), { structuredContent: data });
const pick = (object, names) => Object.fromEntries(names.map(name => [name, object[name] ?? null]));

// Tells every session that is meant, and forgets those that are gone.
async function tell(whom, what) {
  for (const known of [...sessions].filter(whom)) {
    try {
      await what(known.server);
    } catch {
      sessions.delete(known);
    }
  }
}

async function change(verb, kind, name) {
  const kinds = `${kind}s`;
  const more = { tool: { inputSchema: { type: 'object' } }, prompt: {}, resource: { uri: at(`added/${name}`) } };
  added[kinds] = added[kinds].filter(one => one.name !== name);
  if (verb === 'add') added[kinds].push({ name, ...more[kind] });
  const send = { tool: 'sendToolListChanged', prompt: 'sendPromptListChanged', resource: 'sendResourceListChanged' }[kind];
  await tell(() => true, server => server[send]());
  return said(`${verb} ${kind} ${name}`);
}

const TOOLS = {
  echo: (_, { value }) => said(value, { structuredContent: { value } }),
  async slow({ progress }, { word = '' }) {
    for (const done of [1, 2, 3]) {
      await progress(done, 3, `${word} ${done}`);
      await sleep(50);
    }
    await sleep(100); // the SDK's client loses a report that arrives in the same read as the result
    return said(`slow ${word}`);
  },
  async log({ known, extra }, { word, apart }) {
    const params = { level: 'info', logger: 'matrix', data: { word } };
    if (LEVELS.indexOf('info') < LEVELS.indexOf(known.level)) return said(`logged ${word}`);
    // sendLoggingMessage cannot be told which call a message belongs to.
    if (apart) await known.server.sendLoggingMessage(params);
    else await extra.sendNotification({ method: 'notifications/message', params });
    return said(`logged ${word}`);
  },
  async ask_model({ known, related }, { prompt, apart }) {
    const answer = await known.server.createMessage({
      messages: [{ role: 'user', content: { type: 'text', text: prompt } }],
      maxTokens: 77, systemPrompt: 'Be the matrix.', temperature: 0.25, stopSequences: ['END'],
    }, apart ? {} : related);
    return said(answer.content.text, { structuredContent: pick(answer, ['model', 'role', 'stopReason']) });
  },
  async ask_user({ known, related }, { message }) {
    return told(await known.server.elicitInput({ message, requestedSchema: THINGS.form }, related));
  },
  async ask_url({ known, related }, { id }) {
    const there = { mode: 'url', message: 'Go there', url: `https://matrix.example/${id}`, elicitationId: id };
    const { action } = await known.server.elicitInput(there, related);
    if (action === 'accept') await known.server.createElicitationCompletionNotifier(id)();
    return told({ action });
  },
  need_url(_, { id }) {
    throw new types.UrlElicitationRequiredError([
      { mode: 'url', message: 'Go there first', url: `https://matrix.example/${id}`, elicitationId: id }]);
  },
  async whose_roots({ known, related }) {
    return told({ roots: (await known.server.listRoots(undefined, related)).roots });
  },
  roots_changes: ({ known }) => said(String(known.rootsChanges)),
  async ping_me({ known }) {
    await known.server.ping();
    return said('pong');
  },
  async touch(_, { uri }) {
    await tell(known => known.subscribed.has(uri), server => server.sendResourceUpdated({ uri }));
    return said('touched');
  },
  subscriptions: (_, { uri }) => said(String([...sessions].filter(known => known.subscribed.has(uri)).length)),
  link: () => ({ content: [{ type: 'resource_link', uri: at('text'), name: 'text', mimeType: 'text/plain' }] }),
  async wait({ extra, progress }, { label }) {
    await progress(1, 2, 'waiting');
    await new Promise(resolve => extra.signal.addEventListener('abort', resolve));
    cancelled.set(label, (cancelled.get(label) ?? 0) + 1);
    return said('cancelled');
  },
  cancelled_count: (_, { label }) => said(String(cancelled.get(label) ?? 0)),
  // The SDK does not tell which revision was agreed upon.
  whoami: ({ known }) => told({
    client: known.server.getClientVersion(), capabilities: known.server.getClientCapabilities(),
    pid: process.pid, sdk: `typescript ${version}`,
  }),
  fail: () => said('failed on purpose', { isError: true }),
};

async function tool(known, { name, arguments: args = {} }, extra) {
  const token = extra._meta?.progressToken;
  const call = {
    known, extra, related: { relatedRequestId: extra.requestId },
    progress: async (progress, total, message) => token !== undefined && extra.sendNotification(
      { method: 'notifications/progress', params: { progressToken: token, progress, total, message } }),
  };
  try {
    if (Object.hasOwn(TOOLS, name)) return await TOOLS[name](call, args);
  } catch (error) {
    if (error instanceof types.UrlElicitationRequiredError) throw error;
    return said(`refused: ${error.code ?? ''} ${error.message}`, { isError: true });
  }
  if (/^(add|remove)_(tool|prompt|resource)$/.test(name)) return change(...name.split('_'), args.name);
  if (added.tools.some(one => one.name === name)) return said(`${name} was called`);
  throw new Own(-32602, `Unknown tool: ${name}`);
}

function page(kind, key, everything, cursor) {
  const start = Number(cursor ?? 0);
  if (!Number.isInteger(start)) throw new Own(-32602, 'Unknown cursor');
  const end = start + THINGS.page[kind];
  return { [key]: everything.slice(start, end), ...(end < everything.length && { nextCursor: String(end) }) };
}

function read(uri) {
  if (uri === at('blob')) {
    const blob = Buffer.from(Array.from({ length: 256 }, (_, n) => n)).toString('base64');
    return { contents: [{ uri, mimeType: 'application/octet-stream', blob }] };
  }
  const listed = [...THINGS.resources, ...added.resources].some(one => one.uri === uri);
  if (!listed && !['item/', 'other/'].some(start => uri.startsWith(at(start)))) throw new Own(-32002, `Resource not found: ${uri}`, { uri });
  return { contents: [{ uri, mimeType: 'text/plain', text: uri === at('text') ? THINGS.text : `content of ${uri}` }] };
}

function prompt(name, args = {}) {
  if (![...THINGS.prompts, ...added.prompts].some(one => one.name === name)) throw new Own(-32602, `Unknown prompt: ${name}`);
  const text = name === 'greet' ? `Greet ${args.name}!` : `prompt ${name}`;
  return { description: name, messages: [{ role: 'user', content: { type: 'text', text } }] };
}

function complete({ ref, argument, context }) {
  let choices = [];
  if (argument.name === 'style') choices = ['formal', 'plain'].map(style => `${context?.arguments?.name ?? 'nobody'}-${style}`);
  else if (ref.type === 'ref/prompt' && ref.name === 'greet') choices = THINGS.names;
  else if (ref.type === 'ref/resource' && ref.uri === at('item/{id}')) choices = THINGS.ids;
  const values = choices.filter(choice => choice.startsWith(argument.value));
  return { completion: { values, total: values.length, hasMore: false } };
}

function build() {
  const server = new Server({ name: 'matrix-typescript', version }, {
    instructions: THINGS.instructions,
    capabilities: {
      tools: { listChanged: true }, prompts: { listChanged: true }, resources: { listChanged: true, subscribe: true },
      logging: {}, completions: {},
    },
  });
  const known = { server, level: 'debug', subscribed: new Set(), rootsChanges: 0 };
  server.oninitialized = () => sessions.add(known);
  server.onclose = () => sessions.delete(known);
  const on = (schema, run) => server.setRequestHandler(schema, ({ params = {} }, extra) => run(params, extra));
  on(types.CallToolRequestSchema, (params, extra) => tool(known, params, extra));
  on(types.ListToolsRequestSchema, ({ cursor }) => page('tools', 'tools', [...THINGS.tools, ...added.tools], cursor));
  on(types.ListPromptsRequestSchema, ({ cursor }) => page('prompts', 'prompts', [...THINGS.prompts, ...added.prompts], cursor));
  on(types.ListResourcesRequestSchema, ({ cursor }) =>
    page('resources', 'resources', [...THINGS.resources, ...added.resources], cursor));
  on(types.ListResourceTemplatesRequestSchema, ({ cursor }) =>
    page('templates', 'resourceTemplates', THINGS.templates, cursor));
  on(types.ReadResourceRequestSchema, ({ uri }) => read(uri));
  on(types.SubscribeRequestSchema, ({ uri }) => (known.subscribed.add(uri), {}));
  on(types.UnsubscribeRequestSchema, ({ uri }) => (known.subscribed.delete(uri), {}));
  on(types.GetPromptRequestSchema, params => prompt(params.name, params.arguments));
  on(types.CompleteRequestSchema, complete);
  on(types.SetLevelRequestSchema, ({ level }) => ((known.level = level), {}));
  server.setNotificationHandler(types.RootsListChangedNotificationSchema, () => { known.rootsChanges += 1; });
  return server;
}

async function overHttp() {
  const { StreamableHTTPServerTransport } = await load('server/streamableHttp.js');
  const { SSEServerTransport } = await load('server/sse.js');
  const transports = new Map();
  const refuse = (response, code, text) => response.writeHead(code).end(text);
  async function streamable(request, response) {
    const id = request.headers['mcp-session-id'];
    let transport = transports.get(id);
    if (id && !transport) return refuse(response, 404, 'no such session');
    if (!transport) {
      transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        onsessioninitialized: given => transports.set(given, transport),
        onsessionclosed: given => transports.delete(given),
      });
      await build().connect(transport);
    }
    return transport.handleRequest(request, response);
  }
  async function sse(request, response, url) {
    if (url.pathname === '/sse' && request.method === 'GET') {
      const transport = new SSEServerTransport('/messages', response);
      transports.set(transport.sessionId, transport);
      response.on('close', () => transports.delete(transport.sessionId));
      return build().connect(transport);
    }
    const transport = transports.get(url.searchParams.get('sessionId'));
    if (url.pathname !== '/messages' || !transport) return refuse(response, 404, 'no such session');
    return transport.handlePostMessage(request, response);
  }
  createServer((request, response) => {
    const url = new URL(request.url, 'http://localhost');
    if (options.transport === 'streamable' && url.pathname !== '/mcp') return refuse(response, 404, 'not here');
    const handle = options.transport === 'sse' ? sse : streamable;
    handle(request, response, url).catch(error => {
      console.error(error);
      if (!response.headersSent) refuse(response, 500, 'broken');
    });
  }).listen(Number(options.port), '127.0.0.1');
}

if (options.transport === 'stdio') {
  const { StdioServerTransport } = await load('server/stdio.js');
  await build().connect(new StdioServerTransport());
} else {
  await overHttp();
}
