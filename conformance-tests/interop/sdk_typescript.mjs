#!/usr/bin/env node
// The TypeScript SDK (@modelcontextprotocol/sdk 1.32) as a client of the gateway.
//
// usage: sdk_typescript.mjs URL --transport http|sse [--key KEY] --scenario five|everything|fixture
//                           [--prefix everything-] [--direct alias=URL[,BEARER]]... [--modules DIR]
//
// URL is the endpoint itself. --modules is the folder whose node_modules holds the SDK.
import { randomBytes, randomInt } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isDeepStrictEqual, parseArgs } from 'node:util';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    transport: { type: 'string', default: 'http' },
    key: { type: 'string', default: '' },
    scenario: { type: 'string', default: 'five' },
    prefix: { type: 'string' },
    direct: { type: 'string', multiple: true, default: [] },
    modules: { type: 'string', default: process.cwd() },
  },
});
const url = positionals[0];
const prefix = options.prefix ?? `${options.scenario}-`;
const require = createRequire(join(options.modules, 'node_modules', 'x.js'));
const load = name => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${name}`)));
const { Client } = await load('client/index.js');
const { StreamableHTTPClientTransport } = await load('client/streamableHttp.js');
const { SSEClientTransport } = await load('client/sse.js');

const FIVE = { db: 9, timescale: 6, automation: 35, browser: 25, storage: 16 };
const EVERYTHING = [
  'echo', 'get-annotated-message', 'get-env', 'get-resource-links', 'get-resource-reference',
  'get-structured-content', 'get-sum', 'get-tiny-image', 'gzip-file-as-resource',
  'toggle-simulated-logging', 'toggle-subscriber-updates', 'trigger-long-running-operation',
];
const CALL = { timeout: 120_000 };

const label = `typescript ${options.transport} ${options.scenario}`;
let passed = 0;
let failed = 0;
const shorten = value => {
  const text = typeof value === 'string' ? value : JSON.stringify(value) ?? String(value);
  return text.length <= 600 ? text : `${text.slice(0, 600)}… (${text.length} characters)`;
};
function that(condition, text, detail = '') {
  if (condition) {
    passed += 1;
    console.log(`ok ${label}: ${text}`);
  } else {
    failed += 1;
    console.log(`FAILED ${label}: ${text}: ${shorten(detail)}`);
  }
}
const equal = (found, expected, text) =>
  that(isDeepStrictEqual(found, expected), text, `expected ${shorten(expected)}, came ${shorten(found)}`);
async function step(text, run, milliseconds = 120_000) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not finished after ${milliseconds} ms`)), milliseconds);
  });
  try {
    await Promise.race([run(), late]);
  } catch (error) {
    that(false, text, `expected no exception, came ${error?.stack ?? error}`);
  } finally {
    clearTimeout(timer);
  }
}

async function connect(address, kind, key) {
  const requestInit = key ? { headers: { Authorization: `Bearer ${key}` } } : {};
  const transport = kind === 'sse'
    ? new SSEClientTransport(new URL(address), { requestInit })
    : new StreamableHTTPClientTransport(new URL(address), { requestInit });
  const client = new Client({ name: 'trunkline-interop', version: '1' });
  await client.connect(transport);
  return {
    client,
    call: (name, args = {}, more = {}) =>
      client.callTool({ name, arguments: args }, undefined, { ...CALL, ...more }),
    async close() {
      await transport.terminateSession?.();
      await client.close();
    },
  };
}
async function listed(session) {
  const tools = [];
  let cursor;
  do {
    const page = await session.client.listTools(cursor ? { cursor } : undefined);
    tools.push(...page.tools);
    cursor = page.nextCursor;
  } while (cursor);
  return tools;
}
const textOf = result =>
  (result.content ?? []).filter(part => part.type === 'text').map(part => part.text).join('\n');
const under = (tools, start) =>
  Object.fromEntries(tools.filter(t => t.name.startsWith(start)).map(t => [t.name.slice(start.length), t]));
const transportOf = address => (/\/sse\/?$/.test(address) ? 'sse' : 'http');
const pick = (tools, names) => Object.fromEntries(names.filter(n => n in tools).map(n => [n, tools[n]]));

function compare(alias, shown, native) {
  equal(Object.keys(shown).sort(), Object.keys(native).sort(),
    `${alias}: the same ${Object.keys(native).length} tools as the upstream lists itself`);
  const differing = [];
  for (const name of Object.keys(shown).filter(n => n in native)) {
    const ours = { ...shown[name], name: '' };
    const theirs = { ...native[name], name: '' };
    const members = [...new Set([...Object.keys(ours), ...Object.keys(theirs)])]
      .filter(m => !isDeepStrictEqual(ours[m], theirs[m]));
    if (members.length) differing.push(`${name}: ${members}`);
  }
  equal(differing, [], `${alias}: definitions are equal member for member but for the name`);
}
async function direct(alias, run) {
  for (const entry of options.direct) {
    const [name, rest] = [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)];
    if (alias && name !== alias) continue;
    const [address, bearer = ''] = rest.split(',');
    await step(`${name}: listing the upstream itself`, async () => {
      const upstream = await connect(address, transportOf(address), bearer);
      const native = under(await listed(upstream), '');
      await upstream.close();
      run(name, native);
    });
  }
}
async function unknownTool(session, name) {
  await step('calling an unknown tool', async () => {
    let result;
    try {
      result = await session.call(name);
    } catch (error) {
      that([-32602, -32601].includes(error.code), `an unknown tool is a JSON-RPC error (${error.code})`, `${error}`);
      return;
    }
    that(false, 'an unknown tool is a JSON-RPC error', result);
  });
  await step('ping after the error', async () => {
    await session.client.ping();
    that(true, 'the session goes on after the error');
  });
}

async function five(session) {
  const tools = await listed(session);
  equal(tools.length, Object.values(FIVE).reduce((a, b) => a + b), 'the aggregate lists all tools');
  equal(new Set(tools.map(t => t.name)).size, tools.length, 'no name is listed twice');
  for (const [alias, count] of Object.entries(FIVE)) {
    equal(Object.keys(under(tools, `${alias}-`)).length, count, `${alias}: number of tools`);
  }
  await direct(undefined, (alias, native) => compare(alias, under(tools, `${alias}-`), native));

  await step('db: a query', async () => {
    const rows = randomInt(20, 80);
    const sql = `SELECT n AS row_number FROM generate_series(1, ${rows}) AS n`;
    const result = await session.call('db-execute_sql', { sql });
    that(!result.isError, 'db-execute_sql is not an error', result);
    equal(textOf(result).match(/['"]row_number['"]/g)?.length, rows,
      `db-execute_sql gives back the ${rows} rows that were asked for`);
  });
  await step('timescale: hypertables', async () => {
    const result = await session.call('timescale-list_hypertables');
    that(!result.isError && textOf(result).includes('conditions'),
      "timescale-list_hypertables lists the sample's hypertable", result);
  });
  await step('automation: workflows', async () => {
    const result = await session.call('automation-search_workflows', { limit: 5 });
    const data = result.structuredContent ?? JSON.parse(textOf(result));
    that(!result.isError && Array.isArray(data.data) && Number.isInteger(data.count),
      'automation-search_workflows answers with a list and its count', result);
  });
  await step('browser: a page', async () => {
    const title = `Trunkline page ${randomBytes(6).toString('hex')}`;
    const web = createServer((_, response) => {
      response.setHeader('Content-Type', 'text/html; charset=utf-8');
      response.end(`<!doctype html><title>${title}</title><h1>Heading of ${title}</h1>`);
    });
    await new Promise(resolve => web.listen(0, '127.0.0.1', resolve));
    try {
      const page = `http://127.0.0.1:${web.address().port}/`;
      const result = await session.call('browser-browser_navigate', { url: page });
      that(!result.isError, 'browser-browser_navigate is not an error', result);
      const seen = await session.call('browser-browser_snapshot');
      that(textOf(seen).includes(title), `browser-browser_snapshot shows the page's random title (${title})`, seen);
      await session.call('browser-browser_close');
    } finally {
      web.closeAllConnections();
      web.close();
    }
  });
  await step('storage: a bucket', async () => {
    const bucket = `trunkline-${randomBytes(5).toString('hex')}`;
    const made = await session.call('storage-minio_create_bucket', { bucket: bucket });
    that(!made.isError, `storage-minio_create_bucket makes ${bucket}`, made);
    const seen = await session.call('storage-minio_list_buckets');
    that(textOf(seen).includes(bucket), `storage-minio_list_buckets lists ${bucket}`, seen);
    await session.call('storage-minio_delete_bucket', { bucket: bucket });
  });
  await unknownTool(session, 'db-no_such_tool');
}

async function everything(session) {
  const shown = under(await listed(session), prefix);
  equal(EVERYTHING.filter(n => !(n in shown)), [], 'all tools that do not depend on the client are listed');
  await direct(undefined, (alias, native) => {
    const both = Object.keys(shown).filter(n => n in native);
    compare(alias, pick(shown, both), pick(native, [...new Set([...both, ...EVERYTHING])]));
  });
  await step('echo', async () => {
    const word = `${randomBytes(8).toString('hex')} – “Grüße” 漢字 \u2028 🚂`;
    equal(textOf(await session.call(`${prefix}echo`, { message: word })), `Echo: ${word}`,
      'echo gives back the message, whatever characters it has');
  });
  await step('a structured result', async () => {
    const result = await session.call(`${prefix}get-structured-content`, { location: 'New York' });
    equal(result.structuredContent, { temperature: 33, conditions: 'Cloudy', humidity: 82 },
      'a structured result passes');
  });
  await step('sixteen calls at once', async () => {
    const numbers = Array.from({ length: 16 }, (_, n) => n);
    const answers = await Promise.all(numbers.map(n => session.call(`${prefix}get-sum`, { a: n, b: 1000 })));
    equal(numbers.filter(n => !textOf(answers[n]).includes(String(n + 1000))), [],
      'sixteen calls at once each get their own answer');
  });
  // This SDK takes a result at once and a notification a moment later: a report that arrives in the
  // same read as the result is lost inside the client, so the last one is not insisted on.
  await step('progress', async () => {
    const seen = [];
    const result = await session.call(`${prefix}trigger-long-running-operation`, { duration: 1.5, steps: 6 },
      { onprogress: ({ progress, total }) => seen.push([progress, total]) });
    that(/completed/.test(textOf(result)), 'a long call with progress ends with its result', result);
    equal(seen, [1, 2, 3, 4, 5, 6].map(n => [n, 6]).slice(0, Math.max(seen.length, 5)),
      'its progress reports came, in order');
  });
  await step('cancellation', async () => {
    const abort = new AbortController();
    let ended = 'with a result';
    try {
      await session.call(`${prefix}trigger-long-running-operation`, { duration: 600, steps: 1200 },
        { signal: abort.signal, onprogress: () => abort.abort('the test cancels it') });
    } catch (error) {
      ended = `${error}`;
    }
    that(abort.signal.aborted && /cancels it|abort/i.test(ended), 'a call of ten minutes ends when it is cancelled', ended);
    equal(textOf(await session.call(`${prefix}echo`, { message: 'after' })), 'Echo: after',
      'the session goes on after a cancelled call');
  }, 30_000);
  await unknownTool(session, `${prefix}no-such-tool`);
}

async function fixture(session) {
  const shown = under(await listed(session), prefix);
  equal(['test_simple_text', 'test_error_handling', 'test_tool_with_progress'].filter(n => !(n in shown)), [],
    "the fixture's tools are listed");
  await step('text', async () => that(textOf(await session.call(`${prefix}test_simple_text`)), 'test_simple_text gives a text'));
  await step('image', async () => {
    const result = await session.call(`${prefix}test_image_content`);
    equal(result.content.map(part => part.type), ['image'], 'test_image_content gives an image');
  });
  await step("a tool's own error", async () => {
    const result = await session.call(`${prefix}test_error_handling`);
    that(result.isError === true, 'test_error_handling gives a result with isError', result);
  });
  await step('progress', async () => {
    const seen = [];
    await session.call(`${prefix}test_tool_with_progress`, {}, { onprogress: p => seen.push(p.progress) });
    equal(seen, [0, 50, 100].slice(0, Math.max(seen.length, 2)), 'test_tool_with_progress reports 0, 50 and 100 in order');
  });
  await unknownTool(session, `${prefix}no_such_tool`);
}

await step('the whole scenario', async () => {
  const session = await connect(url, options.transport, options.key);
  await { five, everything, fixture }[options.scenario](session);
  await session.close();
  that(true, 'the client closes cleanly');
}, 600_000);
console.log(`${label}: ${passed} passed, ${failed} failed`);
process.exit(failed || !passed ? 1 : 0);
