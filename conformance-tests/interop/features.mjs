#!/usr/bin/env node
// All that the fixture server does, seen by the TypeScript SDK over one transport: asks, progress, log messages,
// changes of lists, subscriptions. The official suite speaks Streamable HTTP only, and is told of no change at all.
//
// usage: features.mjs --modules DIR (URL [--transport http|sse] | --stdio COMMAND [ARGUMENT]...) [--label TEXT]
//                     [--beside PREFIX]
//
// --modules is the folder whose node_modules holds the SDK; --stdio takes the rest of the line.
// --beside PREFIX: dummy_server.mjs is behind the same endpoint, with this prefix on its names.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isDeepStrictEqual, parseArgs } from 'node:util';

const words = process.argv.slice(2);
const at = words.indexOf('--stdio');
const command = at < 0 ? [] : words.splice(at).slice(1);
const { values: options, positionals } = parseArgs({
  args: words,
  allowPositionals: true,
  options: {
    transport: { type: 'string', default: 'http' },
    label: { type: 'string' },
    beside: { type: 'string' },
    modules: { type: 'string', default: process.cwd() },
  },
});
const require = createRequire(join(options.modules, 'node_modules', 'x.js'));
const load = name => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${name}`)));
const { Client } = await load('client/index.js');
const { StreamableHTTPClientTransport } = await load('client/streamableHttp.js');
const { SSEClientTransport } = await load('client/sse.js');
const { StdioClientTransport } = await load('client/stdio.js');
const types = await load('types.js');

const label = options.label ?? `features ${command.length ? 'stdio' : options.transport}`;
const SOON = 5_000;
let passed = 0;
let failed = 0;
const shorten = value => (JSON.stringify(value) ?? String(value)).slice(0, 600);
function equal(found, expected, text) {
  if (isDeepStrictEqual(found, expected)) {
    passed += 1;
    console.log(`ok ${label}: ${text}`);
  } else {
    failed += 1;
    console.log(`FAILED ${label}: ${text}: expected ${shorten(expected)}, came ${shorten(found)}`);
  }
}
// One feature; whatever it throws is its failure, and not that of the ones after it.
async function feature(text, expected, run) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('not finished after 20 s')), 20_000);
  });
  try {
    equal(await Promise.race([run(), late]), expected, text);
  } catch (error) {
    equal(`${error?.message ?? error}`, expected, text);
  } finally {
    clearTimeout(timer);
  }
}

const heard = [];
let wake = () => {};
function hear(what) {
  heard.push(what);
  wake();
}
// What arrives within a bound, beginning at `from`; `undefined` says that it did not.
async function arrival(wanted, from) {
  const end = Date.now() + SOON;
  for (;;) {
    const found = heard.slice(from).find(one => isDeepStrictEqual(one, wanted));
    if (found || Date.now() >= end) return found;
    await new Promise(resolve => {
      wake = resolve;
      setTimeout(resolve, 50);
    });
  }
}

// All messages as they come. The SDK itself loses progress that arrives together with the answer: it hands on the
// answer first, and then does not know the token any more.
const wire = [];
function transport() {
  const made = kind();
  made.onmessage = message => wire.push(message);
  return made;
}
function kind() {
  if (command.length) return new StdioClientTransport({ command: command[0], args: command.slice(1), stderr: 'inherit' });
  const url = new URL(positionals[0]);
  return options.transport === 'sse' ? new SSEClientTransport(url) : new StreamableHTTPClientTransport(url);
}
const client = new Client(
  { name: 'trunkline-features', version: '1' },
  { capabilities: { sampling: {}, elicitation: {}, roots: {} } },
);
client.setRequestHandler(types.CreateMessageRequestSchema, async ({ params }) => ({
  role: 'assistant',
  model: 'none',
  stopReason: 'endTurn',
  content: { type: 'text', text: `You said: ${params.messages[0].content.text}` },
}));
client.setRequestHandler(types.ElicitRequestSchema, async ({ params }) => ({
  action: 'accept',
  content: { username: params.message, email: 'a@example.com' },
}));
const told = (schema, what) => client.setNotificationHandler(schema, ({ params }) => hear(what(params)));
told(types.LoggingMessageNotificationSchema, params => ({ log: params.data, level: params.level }));
told(types.ToolListChangedNotificationSchema, () => ({ changed: 'tools' }));
told(types.PromptListChangedNotificationSchema, () => ({ changed: 'prompts' }));
told(types.ResourceUpdatedNotificationSchema, params => ({ updated: params.uri }));

const text = result => result.content.map(part => part.text).join('');
const call = (name, args = {}, more) => client.callTool({ name, arguments: args }, undefined, more);
const announced = async (tool, expected) => {
  const from = heard.length;
  await call(tool);
  return arrival(expected, from);
};
const WATCHED = 'test://watched-resource';

let connected = false;
await feature('connects', true, async () => {
  await client.connect(transport());
  connected = true;
  return true;
});
if (connected) {
  await feature('a tool answers', 'This is a simple text response for testing.', async () =>
    text(await call('test_simple_text')));
  await feature('a tool asks the model', 'LLM response: You said: hello', async () =>
    text(await call('test_sampling', { prompt: 'hello' })));
  await feature('a tool asks the user', true, async () =>
    /action=accept, content=.*"username":"who\?"/.test(text(await call('test_elicitation', { message: 'who?' }))));
  await feature('two questions at once keep their answers', ['LLM response: You said: one', 'LLM response: You said: two'],
    async () => (await Promise.all(['one', 'two'].map(prompt => call('test_sampling', { prompt })))).map(text));
  await feature('progress comes in order', [0, 50, 100], async () => {
    const from = wire.length;
    await call('test_tool_with_progress', {}, { onprogress() {} });
    const answer = wire.findIndex((message, at) => at >= from && message.result?.content);
    const reports = wire.slice(from, answer).filter(message => message.method === 'notifications/progress');
    return reports.map(report => report.params.progress);
  });
  await feature('log messages come', { log: 'Tool processing data', level: 'info' }, async () => {
    await client.setLoggingLevel('debug');
    const from = heard.length;
    await call('test_tool_with_logging');
    return arrival({ log: 'Tool processing data', level: 'info' }, from);
  });
  await feature('the list of tools changes', { changed: 'tools' }, () =>
    announced('test_trigger_tool_change', { changed: 'tools' }));
  await feature('the list of prompts changes', { changed: 'prompts' }, () =>
    announced('test_trigger_prompt_change', { changed: 'prompts' }));
  await feature('a subscribed resource changes', { updated: WATCHED }, async () => {
    await client.subscribeResource({ uri: WATCHED });
    return announced('test_trigger_resource_change', { updated: WATCHED });
  });
  await feature('nothing is told any more after unsubscribing', [], async () => {
    await client.unsubscribeResource({ uri: WATCHED });
    const from = heard.length;
    await call('test_trigger_resource_change');
    // The change of the prompts comes after it on the same way: then the other would be here.
    await announced('test_trigger_prompt_change', { changed: 'prompts' });
    return heard.slice(from).filter(one => one.updated);
  });
  await feature('a resource, a template and a prompt are read', ['text/plain', '7', true], async () => {
    const one = await client.readResource({ uri: 'test://static-text' });
    const two = await client.readResource({ uri: 'test://template/7/data' });
    const prompt = await client.getPrompt({ name: 'test_prompt_with_arguments', arguments: { arg1: 'a', arg2: 'b' } });
    return [one.contents[0].mimeType, JSON.parse(two.contents[0].text).id, prompt.messages[0].content.text.includes("arg2='b'")];
  });
  await feature('an unknown resource is an error that says which', [-32002, 'test://none'], async () => {
    const error = await client.readResource({ uri: 'test://none' }).then(() => ({}), refused => refused);
    return [error.code, error.data?.uri];
  });
  await feature('an argument is completed', ['paris', 'park', 'party'], async () => {
    const ref = { type: 'ref/prompt', name: 'test_prompt_with_arguments' };
    return (await client.complete({ ref, argument: { name: 'arg1', value: 'par' } })).completion.values;
  });
  if (options.beside !== undefined) {
    const names = async (list, member, key = 'name') =>
      (await list())[member].map(one => one[key]).filter(name => name.includes('dummy')).sort();
    const beside = name => `${options.beside}${name}`;
    await feature('the tools of the other server stand beside, with a prefix', [beside('dummy_add'), beside('dummy_echo')],
      () => names(() => client.listTools(), 'tools'));
    await feature('the prompt of the other server stands beside', [beside('dummy_prompt')],
      () => names(() => client.listPrompts(), 'prompts'));
    await feature('the resource of the other server stands beside', 1, async () =>
      (await names(() => client.listResources(), 'resources', 'uri')).length);
    await feature('a tool of the other server answers', '5', async () =>
      text(await call(beside('dummy_add'), { a: 2, b: 3 })));
  }
  await client.close().catch(() => {});
}
console.log(`${label}: ${passed} passed, ${failed} failed`);
process.exit(failed || !passed ? 1 : 0);
