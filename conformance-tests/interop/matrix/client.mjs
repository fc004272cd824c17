#!/usr/bin/env node
// The client of the matrix, by the TypeScript SDK (@modelcontextprotocol/sdk 1.x): every check against one endpoint.
//
// usage: client.mjs --transport streamable|sse --url URL [--key KEY] [--prefix x-] [--scheme matrix]
//                   [--direct] [--label L] [--modules DIR]
//        client.mjs --transport stdio --command PROGRAM [ARGUMENT]...   (all after --command belongs to it)
//
// The checks are those of client.py, under the same names. --modules is the folder whose node_modules holds the SDK.
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { isDeepStrictEqual, parseArgs } from 'node:util';

const argv = process.argv.slice(2);
const cut = argv.indexOf('--command');
const command = cut < 0 ? [] : argv.splice(cut).slice(1);
const { values: options } = parseArgs({
  args: argv,
  options: {
    transport: { type: 'string' }, url: { type: 'string' }, key: { type: 'string', default: '' },
    prefix: { type: 'string', default: '' }, scheme: { type: 'string', default: 'matrix' }, label: { type: 'string' }, direct: { type: 'boolean', default: false },
    modules: { type: 'string', default: process.cwd() },
  },
});
const require = createRequire(join(resolve(options.modules), 'node_modules', 'x.js'));
const load = name => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${name}`)));
const types = await load('types.js');
const { Client } = await load('client/index.js');
const { version } = JSON.parse(readFileSync(join(options.modules, 'node_modules/@modelcontextprotocol/sdk/package.json')));
const at = path => `${options.scheme}://${path}`;
const THINGS = JSON.parse(readFileSync(new URL('things.json', import.meta.url), 'utf8').replaceAll('matrix://', at('')));
const { prefix, direct } = options;
const NONCE = randomBytes(4).toString('hex');
const ROUNDS = 4;
const CALL = { timeout: 10_000 };

const label = options.label ?? `typescript ${version} ${options.transport}`;
let passed = 0;
let failed = 0;
const shorten = (value, limit = 600) => {
  const text = typeof value === 'string' ? value : JSON.stringify(value) ?? String(value);
  return text.length <= limit ? text : `${text.slice(0, limit)}… (${text.length} characters)`;
};
function that(condition, text, detail = '') {
  if (condition) passed += 1;
  else failed += 1;
  console.log(condition ? `ok ${label}: ${text}` : `FAILED ${label}: ${text}: ${shorten(detail)}`);
}
const expected = (found, wanted) => `expected ${shorten(wanted)}, came ${shorten(found)}`;
const equal = (found, wanted, text) => that(isDeepStrictEqual(found, wanted), text, expected(found, wanted));
async function step(text, run, milliseconds = 120_000) {
  const stop = new AbortController();
  const late = sleep(milliseconds, undefined, { signal: stop.signal }).then(
    () => { throw new Error(`not finished after ${milliseconds} ms`); }, () => {});
  try {
    await Promise.race([run(), late]);
  } catch (error) {
    that(false, text, `expected no exception, came ${error?.stack ?? error}`);
  } finally {
    stop.abort();
  }
}
async function until(condition, milliseconds = 6000) {
  for (const end = Date.now() + milliseconds; Date.now() < end;) {
    if (condition()) return true;
    await sleep(20);
  }
  return Boolean(condition());
}
async function becomes(read, good, tries = 20) {
  let found;
  for (let n = 0; n < tries; n += 1) {
    found = await read();
    if (good(found)) break;
    await sleep(100);
  }
  return found;
}
const textOf = result =>
  (result.content ?? []).filter(part => part.type === 'text').map(part => part.text).join('\n');
const all = (sides, run) => Promise.all(sides.map(run));
const count = (list, one) => list.filter(other => isDeepStrictEqual(other, one)).length;

const RESULTS = {
  'tools/list': types.ListToolsResultSchema, 'prompts/list': types.ListPromptsResultSchema,
  'resources/list': types.ListResourcesResultSchema,
  'resources/templates/list': types.ListResourceTemplatesResultSchema,
  'tools/call': types.CallToolResultSchema, 'prompts/get': types.GetPromptResultSchema,
  'resources/read': types.ReadResourceResultSchema,
};

// One session, with its own answers, and all that it was told.
class Side {
  told = [];
  asked = [];
  constructor(name, able = true) {
    this.name = name;
    this.roots = [`file:///matrix/${name}/${NONCE}`];
    const capabilities = able ? { sampling: {}, elicitation: { form: {}, url: {} }, roots: { listChanged: true } } : {};
    this.client = new Client({ name: `matrix-${name}`, version }, { capabilities });
    this.client.fallbackNotificationHandler = async ({ method, params }) => { this.told.push([method, params ?? {}]); };
    if (!able) return;
    const on = (schema, run) => this.client.setRequestHandler(schema, ({ params }) => run(params));
    on(types.CreateMessageRequestSchema, params => {
      this.asked.push(params);
      const text = `model-of-${name}: ${params.messages[0].content.text}`;
      return { role: 'assistant', content: { type: 'text', text }, model: `model-of-${name}`, stopReason: 'endTurn' };
    });
    on(types.ElicitRequestSchema, params => {
      this.asked.push(params);
      if (params.message.startsWith('decline')) return { action: 'decline' };
      return params.mode === 'url' ? { action: 'accept' } : { action: 'accept', content: this.form(params.message) };
    });
    on(types.ListRootsRequestSchema, () => ({ roots: this.rootList() }));
  }
  form(message) {
    return { name: `user-of-${this.name}: ${message}`, age: this.name.charCodeAt(0), color: 'green', sure: true };
  }
  rootList() {
    return this.roots.map(uri => ({ uri, name: this.name }));
  }
  got(method) {
    return this.told.filter(([told]) => told === method).map(([, params]) => params);
  }
  words(start = '') {
    return this.got('notifications/message').map(params => params.data.word).filter(word => word.startsWith(start));
  }
  updates() {
    return this.got('notifications/resources/updated').map(params => params.uri);
  }
  async connect() {
    await this.client.connect(await wire(), CALL);
  }
  rpc(method, params) {
    return this.client.request({ method, params }, RESULTS[method], CALL);
  }
  call(name, args = {}, more = {}) {
    return this.client.callTool({ name: prefix + name, arguments: args }, undefined, { ...CALL, ...more });
  }
  async text(name, args) {
    return textOf(await this.call(name, args));
  }
  async listed(method, key) {
    const found = [];
    let [pages, cursor] = [0, undefined];
    do {
      const result = await this.rpc(method, cursor ? { cursor } : undefined);
      found.push(...result[key]);
      pages += 1;
      cursor = result.nextCursor;
    } while (cursor && pages < 50);
    return [found, pages];
  }
  async refusal(method, params) {
    try {
      return { code: null, result: await this.rpc(method, params) };
    } catch (error) {
      return error;
    }
  }
}

async function wire() {
  if (options.transport === 'stdio') {
    const { StdioClientTransport } = await load('client/stdio.js');
    return new StdioClientTransport({ command: command[0], args: command.slice(1) });
  }
  const requestInit = options.key ? { headers: { Authorization: `Bearer ${options.key}` } } : {};
  if (options.transport === 'sse') {
    const { SSEClientTransport } = await load('client/sse.js');
    return new SSEClientTransport(new URL(options.url), { requestInit });
  }
  const { StreamableHTTPClientTransport } = await load('client/streamableHttp.js');
  return new StreamableHTTPClientTransport(new URL(options.url), { requestInit });
}

async function handshake(a) {
  that(a.client.getInstructions()?.includes(THINGS.instructions), "initialize: the server's instructions", a.client.getInstructions());
  const has = a.client.getServerCapabilities();
  equal({
    tools: has.tools?.listChanged, prompts: has.prompts?.listChanged, resources: has.resources?.listChanged,
    subscribe: has.resources?.subscribe, logging: 'logging' in has, completions: 'completions' in has,
  }, { tools: true, prompts: true, resources: true, subscribe: true, logging: true, completions: true },
  'initialize: all capabilities are there');
  await step('ping', async () => {
    await a.client.ping(CALL);
    that(true, 'ping');
  });
}

// Waits until what the server says on its own arrives: the stream for that opens after the handshake.
const settled = (a, b) => step('subscribe and touch until the first update arrives', () => all([a, b], async side => {
  const uri = at(`item/settle-${side.name}-${NONCE}`);
  await side.client.subscribeResource({ uri }, CALL);
  for (let n = 0; n < 20; n += 1) {
    await side.call('touch', { uri });
    if (await until(() => side.updates().includes(uri), 300)) break;
  }
  await side.client.unsubscribeResource({ uri }, CALL);
  that(side.updates().includes(uri), `${side.name}: what the server says on its own arrives`, 'nothing came in 6 s');
}));

async function lists(a) {
  for (const [method, key, kind, name] of [
    ['tools/list', 'tools', 'tools', 'name'], ['prompts/list', 'prompts', 'prompts', 'name'],
    ['resources/list', 'resources', 'resources', 'uri'],
    ['resources/templates/list', 'resourceTemplates', 'templates', 'uriTemplate'],
  ]) {
    await step(method, async () => {
      const [found, pages] = await a.listed(method, key);
      const start = name === 'name' ? prefix : '';
      const names = found.map(one => one[name]).filter(one => one.startsWith(start));
      const wanted = THINGS[kind].map(one => ({ ...one, [name]: start + one[name] }));
      const missing = wanted.map(one => one[name]).filter(one => !names.includes(one));
      equal([missing, names.length - new Set(names).size], [[], 0], `${method}: all over its pages, none twice`);
      if (direct) that(pages > 1, `${method}: has pages`, pages);
      const differing = found.filter(one => wanted.some(other => other[name] === one[name] && !isDeepStrictEqual(one, other)));
      equal(differing, [], `${method}: every member as the server has it`);
    });
  }
}

async function rounds(a, b) {
  const wrong = [];
  const same = (what, side, found, wanted) =>
    isDeepStrictEqual(found, wanted) || wrong.push([what, `${side.name}: ${expected(found, wanted)}`]);
  const wordOf = (side, number) => `${side.name}-${number}-${NONCE} “漢字” 🚂`;
  const parts = {
    async echo(side, word, check) {
      const result = await side.call('echo', { value: word });
      check([textOf(result), result.structuredContent], [word, { value: word }]);
    },
    async model(side, word, check) {
      const result = await side.call('ask_model', { prompt: word });
      check(textOf(result), `model-of-${side.name}: ${word}`);
      same("model's name", side, result.structuredContent,
        { model: `model-of-${side.name}`, role: 'assistant', stopReason: 'endTurn' });
    },
    'model apart': async (side, word, check) =>
      check(await side.text('ask_model', { prompt: word, apart: true }), `model-of-${side.name}: ${word}`),
    async user(side, word, check) {
      check((await side.call('ask_user', { message: word })).structuredContent, { action: 'accept', content: side.form(word) });
    },
    roots: async (side, _, check) => check((await side.call('whose_roots')).structuredContent, { roots: side.rootList() }),
    async slow(side, word, check) {
      const seen = [];
      const onprogress = ({ progress, total, message }) => seen.push([progress, total, message]);
      check(textOf(await side.call('slow', { word }, { onprogress })), `slow ${word}`);
      same('progress', side, seen, [1, 2, 3].map(n => [n, 3, `${word} ${n}`]));
    },
    log: async (side, word, check) => check(await side.text('log', { word }), `logged ${word}`),
  };
  await all([a, b], async side => {
    for (let number = 0; number < ROUNDS; number += 1) {
      const word = wordOf(side, number);
      await all(Object.entries(parts), ([what, part]) =>
        part(side, word, (found, wanted) => same(what, side, found, wanted)).catch(error => wrong.push([what, `${side.name}: ${error}`])));
    }
  });
  for (const what of ['echo', 'model', "model's name", 'model apart', 'user', 'roots', 'slow', 'progress', 'log']) {
    equal(wrong.filter(([of]) => of === what), [], `${ROUNDS} rounds of two clients at once: ${what}: each has its own`);
  }
  for (const side of [a, b]) {
    await until(() => side.words().length >= ROUNDS);
    equal(side.words().sort(), Array.from({ length: ROUNDS }, (_, n) => wordOf(side, n)),
      `${side.name}: log messages arrive once, and only its own`);
    const logs = side.got('notifications/message');
    that(logs.length && logs.every(m => m.level === 'info' && (prefix ? m.logger.endsWith('matrix') : m.logger === 'matrix')),
      `${side.name}: level and logger of log messages`, logs);
  }
  const kept = { maxTokens: 77, systemPrompt: 'Be the matrix.', temperature: 0.25, stopSequences: ['END'] };
  const asked = a.asked.filter(one => 'maxTokens' in one);
  that(asked.length && asked.every(one => Object.keys(kept).every(key => isDeepStrictEqual(one[key], kept[key]))),
    'sampling: every parameter arrives', asked[0]);
  equal(a.asked.find(one => 'requestedSchema' in one)?.requestedSchema, THINGS.form, 'elicitation: the form arrives as it is');
}

async function talk(a, b) {
  await step('decline', async () => equal((await a.call('ask_user', { message: 'decline this' })).structuredContent,
    { action: 'decline' }, 'elicitation: a refusal of the user arrives'));
  for (const side of [a, b]) {
    await step('url', async () => {
      const id = `url-${side.name}-${NONCE}`;
      equal((await side.call('ask_url', { id })).structuredContent, { action: 'accept' }, `${side.name}: URL elicitation`);
      await until(() => side.got('notifications/elicitation/complete').length);
      equal(side.got('notifications/elicitation/complete'), [{ elicitationId: id }],
        `${side.name}: its completion is told, once and only here`);
    });
  }
  await step('error -32042', async () => {
    const error = await a.refusal('tools/call', { name: `${prefix}need_url`, arguments: { id: NONCE } });
    const there = { mode: 'url', message: 'Go there first', url: `https://matrix.example/${NONCE}`, elicitationId: NONCE };
    equal([error.code, error.data], [-32042, { elicitations: [there] }],
      'a call that needs an address first: error -32042 with the address');
  });
  await step('ping_me', async () => equal(await a.text('ping_me'), 'pong', 'the server pings the client'));
  await step('log apart', async () => {
    const word = side => `apart-${side.name}-${NONCE}`;
    await all([a, b], side => side.call('log', { word: word(side), apart: true }));
    await all([a, b], side => until(() => side.words().includes(word(side)), 2000));
    equal([a.words('apart-'), b.words('apart-')], [[word(a)], [word(b)]], 'a log message apart from its call: only at the caller');
  });
  await step('setLevel', async () => {
    await a.client.setLoggingLevel('error', CALL);
    await all([a, b], side => side.call('log', { word: `level-${side.name}` }));
    await until(() => b.words().includes('level-B'));
    await a.client.ping(CALL);
    equal([a.words('level-'), b.words('level-')], [[], ['level-B']],
      'logging/setLevel: holds for the session that said it, and for no other');
    await a.client.setLoggingLevel('debug', CALL);
    await a.call('log', { word: 'again-A' });
    that(await until(() => a.words().includes('again-A')), 'logging/setLevel: back again', a.words());
  });
  await step('roots/list_changed', async () => {
    a.roots = [`file:///matrix/A/new-${NONCE}`, `file:///matrix/A/more-${NONCE}`];
    await a.client.sendRootsListChanged();
    const found = await becomes(() => a.text('roots_changes'), times => times !== '0');
    equal([found, await b.text('roots_changes')], ['1', '0'], 'roots/list_changed reaches the server, for its session');
    equal((await a.call('whose_roots')).structuredContent?.roots?.map(root => root.uri), a.roots, 'the new roots are seen');
  });
}

const subscriptions = (a, b, sameProcess) => step('subscriptions', async () => {
  const uriOf = side => at(`item/${side.name}-${NONCE}`);
  const shared = at(`item/both-${NONCE}`);
  const touch = (side, uri) => side.call('touch', { uri });
  for (const side of [a, b]) {
    await side.client.subscribeResource({ uri: uriOf(side) }, CALL);
    await side.client.subscribeResource({ uri: shared }, CALL);
  }
  for (const side of [a, b]) {
    await touch(side, uriOf(side));
    that(await until(() => side.updates().includes(uriOf(side))), `${side.name}: is told of its resource`);
  }
  await touch(a, shared);
  const reached = sameProcess ? [a, b] : [a];
  await until(() => reached.every(side => side.updates().includes(shared)));
  equal(reached.map(side => count(side.updates(), shared)), reached.map(() => 1), 'every subscriber of a resource is told, once');
  if (sameProcess) {
    await touch(b, uriOf(a));
    that(await until(() => count(a.updates(), uriOf(a)) === 2), 'A: is told of what B touches', a.updates());
  }
  await a.client.unsubscribeResource({ uri: shared }, CALL);
  const before = count(a.updates(), shared);
  await touch(a, shared);
  if (sameProcess) that(await until(() => count(b.updates(), shared) === 2), 'B: is still told after A left', b.updates());
  await sleep(200);
  equal(count(a.updates(), shared), before, 'A: is not told after unsubscribe');
  equal([a.updates().filter(uri => /[-/]B-/.test(uri)), b.updates().filter(uri => /[-/]A-/.test(uri))], [[], []],
    'nobody is told of a resource that only the other subscribed to');
  for (const side of [a, b]) await side.client.unsubscribeResource({ uri: uriOf(side) }, CALL);
  await b.client.unsubscribeResource({ uri: shared }, CALL);
  equal(await a.text('subscriptions', { uri: shared }), '0', 'the server has no subscription left');
});

async function changes(a, b, sameProcess) {
  // All three at once: a gateway may read lists again only now and then.
  await all([['tool', `new_${NONCE}`], ['prompt', `new_${NONCE}`], ['resource', NONCE]], ([kind, name]) =>
    step(`${kind}s/list_changed`, async () => {
      const method = `notifications/${kind}s/list_changed`;
      const key = kind === 'resource' ? 'uri' : 'name';
      const shown = kind === 'resource' ? at(`added/${name}`) : prefix + name;
      const sides = sameProcess ? [a, b] : [a];
      const listed = async side => (await side.listed(`${kind}s/list`, `${kind}s`))[0].some(one => one[key] === shown);
      for (const [verb, there] of [['add', true], ['remove', false]]) {
        const before = new Map(sides.map(side => [side, side.got(method).length]));
        await a.call(`${verb}_${kind}`, { name });
        for (const side of sides) {
          that(await until(() => side.got(method).length > before.get(side), 8000),
            `${side.name}: ${kind}s/list_changed after ${verb}`, 'did not come');
          equal(await becomes(() => listed(side), found => found === there, 80), there,
            `${side.name}: the list has it after ${verb}: ${there ? 'True' : 'False'}`);
        }
        if (there && kind === 'tool') equal(await a.text(name), `${name} was called`, 'the added tool can be called');
      }
    }));
}

const cancels = (a, b) => step('cancel', async () => {
  const labelOf = side => `${side.name}-${NONCE}`;
  const counts = () => all([a, b], side => side.text('cancelled_count', { label: labelOf(side) }));
  const start = async side => {
    const stop = new AbortController();
    await new Promise((resolve, reject) => {
      side.call('wait', { label: labelOf(side) }, { signal: stop.signal, onprogress: resolve, timeout: 30_000 }).catch(reject);
    });
    return stop;
  };
  const stops = await all([a, b], start);
  stops[0].abort('the matrix cancels it');
  equal(await becomes(counts, found => found[0] === '1', 50), ['1', '0'],
    "a cancelled call is cancelled at the server, the other client's goes on");
  stops[1].abort('the matrix cancels it');
  equal(await becomes(counts, found => found[1] === '1', 50), ['1', '1'], 'then the other one is, too');
  equal(await a.text('echo', { value: 'after' }), 'after', 'the session goes on after a cancelled call');
}, 30_000);

async function content(a) {
  const read = async uri => (await a.client.readResource({ uri }, CALL)).contents;
  await step('resources/read', async () => {
    equal(await read(at('text')), [{ uri: at('text'), mimeType: 'text/plain', text: THINGS.text }], 'a text resource');
    const [blob] = await read(at('blob'));
    equal([[...Buffer.from(blob.blob, 'base64')], blob.uri], [Array.from({ length: 256 }, (_, n) => n), at('blob')], 'a binary resource');
    equal((await read(at(`item/${NONCE}`)))[0].text, `content of ${at(`item/${NONCE}`)}`, 'a resource of a template');
    const [link] = (await a.call('link')).content;
    equal([link.type, link.uri, link.name], ['resource_link', at('text'), 'text'], 'a resource_link');
    equal((await read(link.uri))[0].text, THINGS.text, 'what it links to can be read');
  });
  await step('prompts/get', async () => {
    const got = await a.client.getPrompt({ name: `${prefix}greet`, arguments: { name: 'Ada' } }, CALL);
    equal(got.messages, [{ role: 'user', content: { type: 'text', text: 'Greet Ada!' } }], 'a prompt with its argument');
  });
  await step('completion', async () => {
    const greet = { type: 'ref/prompt', name: `${prefix}greet` };
    const item = { type: 'ref/resource', uri: at('item/{id}') };
    for (const [what, ref, argument, context, values] of [
      ["of a prompt's argument", greet, { name: 'name', value: 'A' }, undefined, ['Ada', 'Alan']],
      ['with what was chosen before', greet, { name: 'style', value: 'Ada-p' }, { arguments: { name: 'Ada' } }, ['Ada-plain']],
      ["of a template's variable", item, { name: 'id', value: 'o' }, undefined, ['one', 'other']],
    ]) {
      const { completion } = await a.client.complete({ ref, argument, ...(context && { context }) }, CALL);
      equal(completion, { values, total: values.length, hasMore: false }, `completion ${what}`);
    }
  });
  await step('errors', async () => {
    const result = await a.call('fail');
    equal([result.isError, textOf(result)], [true, 'failed on purpose'], "a tool's own error");
    for (const [what, method, params, codes] of [
      ['tool', 'tools/call', { name: `${prefix}nothing` }, [-32602]],
      ['prompt', 'prompts/get', { name: `${prefix}nothing` }, [-32602]],
      ['resource', 'resources/read', { uri: at('nothing') }, [-32002, -32602]],
    ]) {
      const error = await a.refusal(method, params);
      that(codes.includes(error.code), `an unknown ${what} is an error (${codes.join(', ')})`, `${error}`);
    }
  });
}

async function identities(a, b, c) {
  for (const [side, able] of [[a, true], [b, true], [c, false]]) {
    await step('whoami', async () => {
      const found = (await side.call('whoami')).structuredContent;
      const can = ['sampling', 'elicitation', 'roots'].map(name => [name, name in found.capabilities]);
      equal(can, can.map(([name]) => [name, able]), `${side.name}: the server knows what the client can`);
      if (direct) equal(found.client.name, `matrix-${side.name}`, `${side.name}: the server knows its name`);
      else if (side === a) console.log(`note ${label}: the server knows the client as ${JSON.stringify(found.client)}`);
    });
  }
  await step('a client that can nothing', async () => {
    const tools = [['ask_model', { prompt: 'x' }], ['ask_user', { message: 'x' }], ['whose_roots', {}]];
    const [ofA, ofC] = await all([a, c], async side => {
      const results = {};
      for (const [tool, args] of tools) results[tool] = await side.call(tool, args);
      return results;
    });
    for (const [tool] of tools) {
      that(ofC[tool].isError && /support|-3260/i.test(textOf(ofC[tool])), `C: ${tool} is refused, as the tool's error`, ofC[tool]);
      that(!ofA[tool].isError, `A: ${tool} works meanwhile`, ofA[tool]);
    }
    equal(c.asked, [], 'C: was asked nothing');
    equal(await c.text('echo', { value: 'C lives' }), 'C lives', 'C: goes on');
  });
}

await step('the script runs to its end', async () => {
  const [a, b, c] = [new Side('A'), new Side('B'), new Side('C', false)];
  for (const side of [a, b, c]) await side.connect();
  await handshake(a);
  await settled(a, b);
  await lists(a);
  await step('rounds', () => rounds(a, b), 60_000);
  await talk(a, b);
  let same = false;
  await step('whether both are served by one process', async () => {
    const [one, other] = await all([a, b], side => side.call('whoami'));
    same = one.structuredContent.pid === other.structuredContent.pid;
  });
  await subscriptions(a, b, same);
  await changes(a, b, same);
  await cancels(a, b);
  await content(a);
  await identities(a, b, c);
  for (const side of [c, b, a]) {
    await side.client.transport?.terminateSession?.();
    await side.client.close();
  }
  that(true, 'all clients close cleanly');
}, 300_000);
console.log(`${label}: ${passed} passed, ${failed} failed`);
process.exit(failed || !passed ? 1 : 0);
