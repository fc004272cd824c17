#!/usr/bin/env node
// An upstream of the era matrix by the TypeScript SDK: `@modelcontextprotocol/sdk` 1.32 for the handshake era,
// `@modelcontextprotocol/server` 2.4 for the stateless one.
//
// usage: server.mjs --kind KIND [--port N] [--scheme S] [--modules DIR]    (KIND is a key of kinds.json)
//
// --modules is the folder whose node_modules holds the SDK of the kind's era.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { App, Fault, Jobs, LEVELS, Needed, Refused, Rounds, STATELESS, TASKS, able, needs, said } from './app.mjs';

const { values: options } = parseArgs({
  options: {
    kind: { type: 'string' }, port: { type: 'string', default: '0' }, scheme: { type: 'string', default: 'eras' },
    modules: { type: 'string', default: process.cwd() },
  },
});
const { revision, transport } = JSON.parse(readFileSync(new URL('kinds.json', import.meta.url)))[options.kind];
const require = createRequire(join(resolve(options.modules), 'node_modules', 'x.js'));
const load = name => import(pathToFileURL(require.resolve(name)));
const app = new App(revision, options.scheme);
const METHODS = ['tools/list', 'tools/call', 'prompts/list', 'prompts/get', 'resources/list', 'resources/templates/list',
  'resources/read', 'completion/complete'];
const CAPABILITIES = {
  tools: { listChanged: true }, prompts: { listChanged: true }, resources: { listChanged: true, subscribe: true },
  logging: {}, ...(revision >= '2025-03-26' && { completions: {} }),
};
const version = name => JSON.parse(readFileSync(join(options.modules, `node_modules/@modelcontextprotocol/${name}/package.json`))).version;
const refuse = (response, code, text) => response.writeHead(code).end(text);
const listen = handle => createServer((request, response) => {
  handle(request, response, new URL(request.url, 'http://localhost')).catch(error => {
    console.error(error);
    if (!response.headersSent) refuse(response, 500, 'broken');
  });
}).listen(Number(options.port), '127.0.0.1');

async function handshake() {
  const sdk = '@modelcontextprotocol/sdk';
  const types = await load(`${sdk}/types.js`);
  const { Server } = await load(`${sdk}/server/index.js`);
  const { InMemoryTaskMessageQueue, InMemoryTaskStore } = await load(`${sdk}/experimental/tasks/stores/in-memory.js`);
  // Held to one revision: whatever a client proposes, this is what it is offered.
  types.SUPPORTED_PROTOCOL_VERSIONS.splice(0, Infinity, revision);
  const sessions = new Set();
  const tasks = revision === '2025-11-25';
  const results = {
    'sampling/createMessage': types.CreateMessageResultSchema, 'elicitation/create': types.ElicitResultSchema,
    'roots/list': types.ListRootsResultSchema,
  };

  // Tells every session that is meant, and forgets those that are gone.
  async function tell(whom, what) {
    for (const known of [...sessions].filter(whom)) await what(known.server).catch(() => sessions.delete(known));
  }
  app.changed = kind => tell(() => true, server => server[{ tool: 'sendToolListChanged', prompt: 'sendPromptListChanged', resource: 'sendResourceListChanged' }[kind]]());
  app.updated = uri => tell(known => known.uris.has(uri), server => server.sendResourceUpdated({ uri }));

  function callOf(known, extra) {
    const { server } = known;
    const token = extra._meta?.progressToken;
    const capabilities = server.getClientCapabilities() ?? {};
    const notify = (method, params) => extra.sendNotification({ method, params });
    return {
      client: server.getClientVersion(), capabilities, signal: extra.signal,
      progress: async (progress, total, message) => token !== undefined && notify('notifications/progress',
        { progressToken: token, progress, total, ...(revision >= '2025-03-26' && { message }) }),
      log: async (level, data) => LEVELS.indexOf(level) >= LEVELS.indexOf(known.level) && notify('notifications/message', { level, logger: 'eras', data }),
      ping: () => server.ping(),
      completed: elicitationId => notify('notifications/elicitation/complete', { elicitationId }),
      async ask(wanted) {
        const asked = Object.entries(wanted).map(async ([key, request]) => {
          if (!able(capabilities, needs(request))) throw new Refused(`the client has no ${JSON.stringify(needs(request))}`);
          try {
            return [key, await extra.sendRequest(request, results[request.method])];
          } catch (error) {
            throw new Refused(`${error.code} ${error.message}`);
          }
        });
        return Object.fromEntries(await Promise.all(asked));
      },
    };
  }

  async function job({ word }, extra) {
    if (!extra.taskStore || extra.taskRequestedTtl === undefined) throw new types.McpError(-32601, 'This tool runs as a task only');
    const store = extra.taskStore;
    const task = await store.createTask({ ttl: extra.taskRequestedTtl, pollInterval: 100 });
    (async () => {
      await sleep(200);
      await store.updateTaskStatus(task.taskId, 'working', 'half done');
      await sleep(300);
      await store.storeTaskResult(task.taskId, 'completed', said(`job ${word} done`));
    })().catch(console.error);
    return { task };
  }

  function build() {
    const server = new Server({ name: 'eras-typescript', version: version('sdk') }, {
      capabilities: { ...CAPABILITIES, ...(tasks && { tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } } }) },
      ...(tasks && { taskStore: new InMemoryTaskStore(), taskMessageQueue: new InMemoryTaskMessageQueue() }),
    });
    const fallback = server._oninitialize;
    // The SDK falls back to its newest revision, not to the one that it is held to.
    server._oninitialize = async request => ({ ...await fallback.call(server, request), protocolVersion: revision });
    // 2024-11-05 has completions, but no capability for them; the SDK insists on one.
    server.assertRequestHandlerCapability = () => {};
    const known = { server, level: 'debug', uris: new Set() };
    server.oninitialized = () => sessions.add(known);
    server.onclose = () => sessions.delete(known);
    const schemas = {
      'tools/list': types.ListToolsRequestSchema, 'tools/call': types.CallToolRequestSchema, 'prompts/list': types.ListPromptsRequestSchema,
      'prompts/get': types.GetPromptRequestSchema, 'resources/list': types.ListResourcesRequestSchema,
      'resources/templates/list': types.ListResourceTemplatesRequestSchema, 'resources/read': types.ReadResourceRequestSchema,
      'completion/complete': types.CompleteRequestSchema,
    };
    for (const method of METHODS) {
      server.setRequestHandler(schemas[method], async ({ params = {} }, extra) => {
        if (tasks && method === 'tools/call' && params.name === 'job') return job(params.arguments, extra);
        try {
          return await app.answer(method, callOf(known, extra), params);
        } catch (error) {
          throw error instanceof Fault ? Object.assign(new Error(error.message), { code: error.code, data: error.data }) : error;
        }
      });
    }
    server.setRequestHandler(types.SubscribeRequestSchema, ({ params }) => (known.uris.add(params.uri), {}));
    server.setRequestHandler(types.UnsubscribeRequestSchema, ({ params }) => (known.uris.delete(params.uri), {}));
    server.setRequestHandler(types.SetLevelRequestSchema, ({ params }) => ((known.level = params.level), {}));
    return server;
  }

  if (transport === 'stdio') {
    const { StdioServerTransport } = await load(`${sdk}/server/stdio.js`);
    await build().connect(new StdioServerTransport());
    return;
  }
  const { StreamableHTTPServerTransport } = await load(`${sdk}/server/streamableHttp.js`);
  const { SSEServerTransport } = await load(`${sdk}/server/sse.js`);
  const wires = new Map();
  listen(async (request, response, url) => {
    if (transport === 'sse') {
      if (url.pathname === '/sse' && request.method === 'GET') {
        const wire = new SSEServerTransport('/messages', response);
        wires.set(wire.sessionId, wire);
        response.on('close', () => wires.delete(wire.sessionId));
        return build().connect(wire);
      }
      const wire = wires.get(url.searchParams.get('sessionId'));
      return url.pathname === '/messages' && wire ? wire.handlePostMessage(request, response) : refuse(response, 404, 'no such session');
    }
    if (url.pathname !== '/mcp') return refuse(response, 404, 'not here');
    const id = request.headers['mcp-session-id'];
    let wire = wires.get(id);
    if (id && !wire) return refuse(response, 404, 'no such session');
    if (!wire) {
      wire = new StreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID, onsessioninitialized: given => wires.set(given, wire), onsessionclosed: given => wires.delete(given),
      });
      await build().connect(wire);
    }
    return wire.handleRequest(request, response);
  });
}

async function stateless() {
  const sdk = await load('@modelcontextprotocol/server');
  const rounds = new Rounds();
  const jobs = new Jobs();
  const asError = error => (error instanceof Fault ? new sdk.ProtocolError(error.code, error.message, error.data) : error);

  function callOf(ctx) {
    const { mcpReq } = ctx;
    const envelope = mcpReq.envelope ?? {};
    const capabilities = envelope[sdk.CLIENT_CAPABILITIES_META_KEY] ?? {};
    const token = mcpReq._meta?.progressToken;
    const level = envelope[sdk.LOG_LEVEL_META_KEY];
    const answers = rounds.answers(mcpReq.requestState(), mcpReq.inputResponses);
    return {
      client: envelope[sdk.CLIENT_INFO_META_KEY] ?? {}, capabilities, signal: mcpReq.signal, headers: ctx.http?.req?.headers,
      progress: async (progress, total, message) => token !== undefined && mcpReq.notify(
        { method: 'notifications/progress', params: { progressToken: token, progress, total, message } }),
      log: async (at, data) => level && LEVELS.indexOf(at) >= LEVELS.indexOf(level) && mcpReq.notify(
        { method: 'notifications/message', params: { level: at, logger: 'eras', data } }),
      async ask(wanted) {
        const missing = {};
        for (const [key, request] of Object.entries(wanted)) {
          if (!able(capabilities, needs(request))) throw new Fault(-32021, 'The client lacks a capability', { requiredCapabilities: needs(request) });
          if (!(key in answers)) missing[key] = request;
        }
        if (Object.keys(missing).length) throw rounds.need(missing, answers);
        return answers;
      },
    };
  }

  let live;
  const factory = () => {
    const server = live = new sdk.Server({ name: 'eras-typescript', version: version('server') }, {
      capabilities: { ...CAPABILITIES, extensions: { [TASKS]: {} } },
      // Lists may be kept until they are said to have changed.
      cacheHints: Object.fromEntries(METHODS.filter(name => name.endsWith('/list')).map(name => [name, { ttlMs: 60000, cacheScope: 'public' }])),
    });
    for (const method of METHODS) {
      server.setRequestHandler(method, async ({ params = {} }, ctx) => {
        try {
          const call = callOf(ctx);
          if (method === 'tools/call' && params.name === 'job') {
            if (!call.capabilities.extensions?.[TASKS]) throw new Fault(-32021, 'This tool runs as a task only', { requiredCapabilities: { extensions: { [TASKS]: {} } } });
            return jobs.start(params.arguments.word);
          }
          return await app.answer(method, call, params);
        } catch (error) {
          if (error instanceof Needed) return sdk.inputRequired({ inputRequests: error.requests, requestState: error.state });
          throw asError(error);
        }
      });
    }
    const any = { params: sdk.specTypeSchemas.JSONObject ?? sdk.specTypeSchemas.RequestParams };
    const task = (method, run) => server.setRequestHandler(method, any, async params => {
      try {
        return run(params.taskId);
      } catch (error) {
        throw asError(error);
      }
    });
    task('tasks/get', id => jobs.state(id));
    task('tasks/cancel', id => {
      jobs.state(id);
      jobs.known.get(id).cancelled = true;
      return {};
    });
    return server;
  };

  if (transport === 'stdio') {
    // Over stdio the SDK takes what the server says of changes to the open subscriptions.
    const { serveStdio } = await load('@modelcontextprotocol/server/stdio');
    app.changed = kind => live[{ tool: 'sendToolListChanged', prompt: 'sendPromptListChanged', resource: 'sendResourceListChanged' }[kind]]();
    app.updated = uri => live.sendResourceUpdated({ uri });
    serveStdio(factory, { legacy: 'reject' });
    return;
  }
  const handler = sdk.createMcpHandler(factory, { legacy: 'reject', onerror: error => console.error(error.message) });
  app.changed = async kind => handler.notify[{ tool: 'toolsChanged', prompt: 'promptsChanged', resource: 'resourcesChanged' }[kind]]();
  app.updated = async uri => handler.notify.resourceUpdated(uri);
  listen(async (request, response, url) => {
    const gone = new AbortController();
    response.on('close', () => gone.abort());
    const headers = Object.entries(request.headers).flatMap(([name, value]) => [value].flat().map(one => [name, one]));
    const body = ['GET', 'HEAD'].includes(request.method) ? undefined : Readable.toWeb(request);
    const answer = await handler.fetch(new Request(url, { method: request.method, headers, body, duplex: 'half', signal: gone.signal }));
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    response.flushHeaders();
    if (answer.body) for await (const chunk of answer.body) response.write(chunk);
    response.end();
  });
}

await (revision === STATELESS ? stateless() : handshake());
