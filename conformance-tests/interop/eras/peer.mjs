#!/usr/bin/env node
// A client of the era matrix by the TypeScript SDK: `@modelcontextprotocol/sdk` 1.32 for the handshake era,
// `@modelcontextprotocol/client` 2.4 for the stateless one. It does what eras.py says; see peer.py.
//
// usage: peer.mjs --era handshake|stateless --modules DIR
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({ options: { era: { type: 'string' }, modules: { type: 'string', default: process.cwd() } } });
const require = createRequire(join(resolve(options.modules), 'node_modules', 'x.js'));
const load = name => import(pathToFileURL(require.resolve(name)));
const put = message => process.stdout.write(`${JSON.stringify(message)}\n`);
const TASKS = 'io.modelcontextprotocol/tasks';
const LEVEL = 'io.modelcontextprotocol/logLevel';
const CHANGES = ['notifications/tools/list_changed', 'notifications/prompts/list_changed', 'notifications/resources/list_changed',
  'notifications/resources/updated', 'notifications/message', 'notifications/elicitation/complete'];
const version = name => JSON.parse(readFileSync(join(options.modules, `node_modules/@modelcontextprotocol/${name}/package.json`))).version;
const fault = error => ({
  code: typeof error.code === 'number' ? error.code : null,
  // 1.32 puts the code into the text.
  message: String(error.message ?? error).replace(/^MCP error -?\d+: /, ''), data: error.data,
});

class Peer {
  calls = new Map();
  subscribed = [];
  constructor(order) {
    Object.assign(this, { order, name: order.name });
  }

  answers = {
    'sampling/createMessage': params => ({
      role: 'assistant', model: 'eras', stopReason: 'endTurn',
      content: { type: 'text', text: `model of ${this.name}: ${[params.messages[0].content].flat()[0].text}` },
    }),
    'elicitation/create': params => (params.mode === 'url' ? { action: 'accept' }
      : { action: 'accept', content: { answer: `user of ${this.name}: ${params.message}`, age: 42, sure: true } }),
    'roots/list': () => ({ roots: [{ uri: `file:///eras/${this.name}`, name: this.name }] }),
  };
  asked(method, params = {}) {
    put({ event: 'asked', method, params });
    return this.answers[method](params);
  }
  told(method, params = {}) {
    put({ event: 'told', method, params });
  }
  able() {
    const { able, revision } = this.order;
    const has = name => able.includes(name);
    return {
      ...(has('sampling') && { sampling: {} }), ...(has('roots') && { roots: {} }),
      // Before 2025-11-25 there are no modes to tell apart.
      ...(has('elicitation') && { elicitation: revision < '2025-11-25' ? {} : { form: {}, url: {} } }),
    };
  }
  asks() {
    return { sampling: 'sampling/createMessage', roots: 'roots/list', elicitation: 'elicitation/create' };
  }
  progress(n, order) {
    return order.progress ? { onprogress: params => put({ event: 'progress', call: n, params }) } : {};
  }
  abort({ call }) {
    this.calls.get(call).abort('the matrix cancels it');
    return {};
  }
  async unwatch() {
    for (const uri of this.subscribed.splice(0)) await this.raw({ method: 'resources/unsubscribe', params: { uri } });
    return {};
  }
}

class Handshake extends Peer {
  async open() {
    const sdk = '@modelcontextprotocol/sdk';
    const types = await load(`${sdk}/types.js`);
    const { Client } = await load(`${sdk}/client/index.js`);
    const { revision, transport, url, command } = this.order;
    this.any = types.ResultSchema;
    this.results = { 'tools/call': types.CallToolResultSchema };
    types.SUPPORTED_PROTOCOL_VERSIONS.splice(0, Infinity, revision);
    this.client = new Client({ name: this.name, version: version('sdk') }, { capabilities: this.able() });
    const requests = {
      sampling: types.CreateMessageRequestSchema, roots: types.ListRootsRequestSchema, elicitation: types.ElicitRequestSchema };
    for (const [name, method] of Object.entries(this.asks())) {
      if (this.order.able.includes(name)) this.client.setRequestHandler(requests[name], ({ params }) => this.asked(method, params));
    }
    this.client.fallbackNotificationHandler = async ({ method, params }) => this.told(method, params);
    let wire;
    if (transport === 'stdio') {
      const { StdioClientTransport } = await load(`${sdk}/client/stdio.js`);
      wire = new StdioClientTransport({ command: command[0], args: command.slice(1), stderr: 'inherit' });
    } else if (transport === 'sse') {
      const { SSEClientTransport } = await load(`${sdk}/client/sse.js`);
      wire = new SSEClientTransport(new URL(url));
    } else {
      const { StreamableHTTPClientTransport } = await load(`${sdk}/client/streamableHttp.js`);
      wire = new StreamableHTTPClientTransport(new URL(url));
    }
    // The SDK proposes its newest revision only.
    const send = wire.send.bind(wire);
    wire.send = (message, more) => {
      if (message.method === 'initialize') message.params.protocolVersion = revision;
      return send(message, more);
    };
    let agreed = revision;
    const said = wire.setProtocolVersion?.bind(wire);
    wire.setProtocolVersion = given => {
      agreed = given;
      said?.(given);
    };
    await this.client.connect(wire);
    return { revision: agreed, capabilities: this.client.getServerCapabilities() };
  }
  raw({ method, params }, more = {}) {
    return this.client.request({ method, params }, this.any, { timeout: 20000, ...more });
  }
  call(n, order) {
    const stop = new AbortController();
    this.calls.set(n, stop);
    return this.raw(order, { signal: stop.signal, ...this.progress(n, order) });
  }
  async watch({ uris }) {
    for (const uri of uris) await this.raw({ method: 'resources/subscribe', params: { uri } });
    this.subscribed.push(...uris);
    return {};
  }
  level({ level }) {
    return this.raw({ method: 'logging/setLevel', params: { level } });
  }
  async task({ name, arguments: args }) {
    const { tasks } = this.client.experimental;
    const done = { created: null, statuses: [] };
    for await (const message of tasks.requestStream({ method: 'tools/call', params: { name, arguments: args } }, this.results['tools/call'], { task: { ttl: 60000 }, timeout: 20000 })) {
      if (message.type === 'taskCreated') done.created = message.task;
      if (message.type === 'taskStatus') done.statuses.push(message.task);
      if (message.type === 'result') done.result = message.result;
      if (message.type === 'error') throw message.error;
    }
    return done;
  }
  close() {
    return this.client.close();
  }
}

class Stateless extends Peer {
  async open() {
    const sdk = await load('@modelcontextprotocol/client');
    const { transport, url, command, able } = this.order;
    this.any = sdk.specTypeSchemas.Result;
    this.client = new sdk.Client({ name: this.name, version: version('client') }, {
      capabilities: { ...this.able(), ...(able.includes('tasks') && { extensions: { [TASKS]: {} } }) },
      versionNegotiation: { mode: 'auto' },
    });
    for (const [name, method] of Object.entries(this.asks())) {
      if (able.includes(name)) this.client.setRequestHandler(method, ({ params }) => this.asked(method, params));
    }
    for (const method of CHANGES) this.client.setNotificationHandler(method, ({ params }) => this.told(method, params));
    let wire;
    if (transport === 'stdio') {
      const { StdioClientTransport } = await load('@modelcontextprotocol/client/stdio');
      wire = new StdioClientTransport({ command: command[0], args: command.slice(1), stderr: 'inherit' });
    } else {
      wire = new sdk.StreamableHTTPClientTransport(new URL(url));
    }
    await this.client.connect(wire);
    // The SDK refuses `resultType: "task"`: such a result is handed to it as an ordinary one, and kept here.
    const heard = wire.onmessage;
    wire.onmessage = (message, extra) => {
      if (message.result?.resultType === 'task') {
        this.created = message.result;
        message = { ...message, result: { resultType: 'complete', content: [] } };
      }
      return heard.call(wire, message, extra);
    };
    return { revision: this.client.getNegotiatedProtocolVersion(), capabilities: this.client.getServerCapabilities() };
  }
  withLevel(params = {}) {
    return this.wanted ? { ...params, _meta: { [LEVEL]: this.wanted } } : params;
  }
  call(n, order) {
    const stop = new AbortController();
    this.calls.set(n, stop);
    const params = this.withLevel(order.params);
    const more = { signal: stop.signal, timeout: 20000, ...this.progress(n, order) };
    switch (order.method) {
      case 'tools/call': return this.client.callTool(params, more);
      // With its cache: the SDK learns from here which arguments travel in headers.
      case 'tools/list': return params.cursor ? this.client.listTools(params, more) : this.first(params, more);
      default: return this.client.request({ method: order.method, params }, more);
    }
  }
  // Without a cursor `listTools` reads all pages at once; the caller wants to see them.
  async first(params, more) {
    await this.client.listTools(undefined, { ...more, cacheMode: 'refresh' });
    return this.client.request({ method: 'tools/list', params }, more);
  }
  async watch({ uris }) {
    this.open_ = await this.client.listen({
      toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true, resourceSubscriptions: uris });
    return this.open_.honoredFilter;
  }
  async unwatch() {
    await this.open_?.close();
    return {};
  }
  level({ level }) {
    this.wanted = level;
    return {};
  }
  // What the SDK will not send goes beside it over HTTP, and to its transport over stdio.
  async raw({ method, params = {} }) {
    const { transport } = this.client;
    const id = `raw-${Math.random().toString(36).slice(2)}`;
    const meta = {
      'io.modelcontextprotocol/protocolVersion': this.order.revision,
      'io.modelcontextprotocol/clientInfo': { name: this.name, version: version('client') },
      'io.modelcontextprotocol/clientCapabilities': this.able(),
    };
    const body = { jsonrpc: '2.0', id, method, params: { ...params, _meta: meta } };
    const failure = error => Object.assign(new Error(error.message), error);
    if (this.order.url) {
      const answer = await fetch(this.order.url, {
        method: 'POST', body: JSON.stringify(body), headers: {
          'content-type': 'application/json', accept: 'application/json, text/event-stream',
          'mcp-protocol-version': this.order.revision, 'mcp-method': method,
        } });
      const { error, result } = await answer.json();
      if (error) throw failure(error);
      return result;
    }
    return new Promise((done, failed) => {
      const heard = transport.onmessage;
      transport.onmessage = (message, extra) => {
        if (message.id !== id) return heard.call(transport, message, extra);
        transport.onmessage = heard;
        return message.error ? failed(failure(message.error)) : done(message.result);
      };
      transport.send(body).catch(failed);
    });
  }
  async task({ name, arguments: args }) {
    this.created = null;
    const statuses = [];
    let result = await this.client.callTool({ name, arguments: args }, { timeout: 20000 });
    const { created } = this;
    while (created && (statuses.length === 0 || ['working', 'input_required'].includes(statuses.at(-1).status))) {
      await sleep(created.pollIntervalMs ?? 100);
      statuses.push(await this.client.request({ method: 'tasks/get', params: { taskId: created.taskId } }, this.any));
      result = statuses.at(-1).result;
    }
    return { created, statuses, result };
  }
  close() {
    return this.client.close();
  }
}

let peer;
async function follow(order) {
  const { n } = order;
  try {
    if (order.do === 'open') {
      peer = new (options.era === 'stateless' ? Stateless : Handshake)(order);
      return put({ n, ok: await peer.open() });
    }
    const done = order.do === 'call' ? await peer.call(n, order) : await peer[order.do](order);
    return put({ n, ok: done ?? {} });
  } catch (error) {
    const aborted = peer?.calls.get(n)?.signal.aborted;
    return put({ n, error: aborted ? { code: 'aborted', message: 'abandoned' } : fault(error), closed: order.do === 'open' });
  }
}
process.on('uncaughtException', error => console.error(error));
for await (const line of createInterface({ input: process.stdin })) follow(JSON.parse(line));
process.exit(0);
