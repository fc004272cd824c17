#!/usr/bin/env node
// Compares what recorder.mjs wrote down twice: of a server, and of a gateway's endpoint for this server. Every message
// to the client counts, byte for byte.
//
// usage: compare.mjs DIR NAME:FLOOR...      DIR/NAME-direct.jsonl and DIR/NAME-alias.jsonl; at least FLOOR messages
//
// Sessions are taken in the order in which they were opened, requests in the order in which they were made. What came
// on the stream of a request is compared in its order, and so is what came on the streams that belong to no request.
// Only this may differ:
//  * ids of what the server asks, and the progress tokens in it: whoever asks chooses them. Ids of answers and tokens
//    of progress are the client's own, and must be spelled as the client spelled them.
//  * the refusal of a stream that a client asks for while it ends its session: whether it is too late is chance.
//  * what comes on the stream of a request after its client left: whether it still comes is chance.
//  * what the rules below say, each with its reason: then it is just what they say.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { items, place, replaced, value } from './bytes.mjs';

const [folder, ...runs] = process.argv.slice(2);
const known = text => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // not JSON, so not a message
  }
};

// --- what the gateway changes on purpose ---

const KEYS = { 'tools/list': 'tools', 'prompts/list': 'prompts', 'resources/list': 'resources', 'resources/templates/list': 'resourceTemplates' };
const swap = (text, ...pairs) => pairs.reduce((whole, [from, to]) => whole.replace(from, () => to), text);
const isInitialize = ({ run, method }) => run === 'odd' && method === 'initialize';
const RULES = [
  {
    reason: 'initialize: the gateway tells of changes of every list that there is, whether or not the server does',
    when: isInitialize,
    edit: text => swap(text, ['"tools":{ }', '"tools":{"listChanged":true }'], ['{"listChanged":false}', '{"listChanged":true}'],
      ['{"subscribe":true}', '{"listChanged":true,"subscribe":true}']),
  },
  {
    reason: 'ping: the gateway answers itself, whatever the server would say',
    when: ({ run, method }) => run === 'odd' && method === 'ping',
    edit: () => '{"jsonrpc":"2.0","id":"<id>","result":{}}',
  },
  {
    reason: 'lists: items are as they came, and the page around them is the gateway\'s',
    when: ({ method, text }) => Object.hasOwn(KEYS, method) && known(text)?.result,
    edit: (text, { method, pages }) => {
      const own = items(text, 'result', KEYS[method]).join(',');
      pages[method] = `{"jsonrpc":"2.0","id":"<id>","result":{"${KEYS[method]}":[${own}]}}`;
      return pages[method];
    },
  },
  {
    reason: 'lists: they never wait for a server, so that none can refuse its list',
    when: ({ run, method, text }) => run === 'odd' && Object.hasOwn(KEYS, method) && known(text)?.error,
    edit: (_, { method, pages }) => pages[method],
  },
  {
    reason: 'changes of lists: the gateway tells of them itself, without parameters',
    when: ({ run, text }) => run === 'odd' && /^notifications\/(tools|prompts|resources)\/list_changed$/.test(known(text)?.method),
    edit: text => `{"jsonrpc":"2.0","method":"${known(text).method}"}`,
  },
  {
    reason: 'a foreign Host is refused by the gateway itself',
    when: ({ status }) => status === 403,
    edit: text => swap(text, ['Forbidden: Host header is not allowed',
      '{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Forbidden: the Host `evil.example.com` is not this gateway\'s","data":{"reason":"bad_host","retryable":false,"hint":"use a loopback name, or set `public_url` or `allowed_hosts`"}}}']),
  },
  {
    reason: 'a session that ended is refused by the gateway itself: it was the gateway\'s',
    when: ({ status }) => status === 404,
    edit: text => swap(text, ['Not Found: Session not found',
      '{"jsonrpc":"2.0","id":"<id>","error":{"code":-32600,"message":"Session not found: it ended, or never was here","data":{"reason":"unknown_session","retryable":false,"hint":"send `initialize` to open a new one"}}}']),
  },
];
const made = new Map(RULES.map(rule => [rule, 0]));

// --- what was recorded ---

const TOKEN = ['params', '_meta', 'progressToken'];
// A request of the client, without what is chosen anew every time.
const asked = body => replaced(body, [[['id'], '"<id>"'], [TOKEN, '"<token>"'], [['params', 'progressToken'], '"<token>"'], [['params', 'requestId'], '"<id>"']]);

// The sessions in their order: what each client asked, what came for it, and what came for nothing in particular.
function sessions(file) {
  const exchanges = new Map();
  const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean).map(line => JSON.parse(line));
  for (const { what, n, ...more } of lines) {
    const exchange = exchanges.get(n) ?? { messages: [] };
    exchanges.set(n, exchange);
    if (what === 'request') Object.assign(exchange, more);
    if (what === 'head') Object.assign(exchange, { status: more.status, session: more.session ?? exchange.session });
    if (what === 'message') exchange.messages.push(more.text);
    if (what === 'left') exchange.isLeft = true;
    if (what === 'broken') exchange.messages.push(`broken: ${more.why}`);
  }
  const ended = new Set([...exchanges.values()].filter(one => one.method === 'DELETE').map(one => one.session));
  const found = new Map();
  for (const exchange of exchanges.values()) {
    const session = found.get(exchange.session) ?? { calls: [], said: [], loose: [], changes: [] };
    found.set(exchange.session, session);
    const { id, method } = known(exchange.body) ?? {};
    const call = {
      key: `${exchange.method} ${asked(exchange.body)}`,
      method: method ?? exchange.method,
      id: value(exchange.body, 'id'),
      token: place(exchange.body, ...TOKEN) && value(exchange.body, ...TOKEN),
      status: exchange.status,
      isLeft: exchange.isLeft,
      messages: [],
    };
    // A client that ends its session at once may ask for its stream too late, or not: its requests overtake each other.
    if (ended.has(exchange.session) && exchange.method === 'GET' && exchange.status >= 400) exchange.messages = [];
    if (exchange.method === 'POST' && method !== undefined && id !== undefined) session.calls.push(call);
    else session.said.push(call);
    for (const text of exchange.messages) {
      const message = known(text) ?? {};
      // An answer can come on another stream, if the client came back for it.
      const own = session.calls.find(one => message.method === undefined && message.id !== undefined && one.id === value(text, 'id'));
      if (own) own.messages.push(masked(text, own));
      else if (exchange.method === 'POST') call.messages.push(masked(text, call));
      // What the gateway says when it has read a list again has no order with the rest.
      else if (/\/list_changed$/.test(message.method)) session.changes.push(masked(text, call));
      else session.loose.push(masked(text, call));
    }
  }
  return [...found.values()];
}

// A message without what may differ.
function masked(text, call) {
  const message = known(text);
  if (!message) return text;
  const { id, method } = message;
  if (method === undefined) return value(text, 'id') === call.id ? replaced(text, [[['id'], '"<id>"']]) : text;
  if (id !== undefined) return replaced(text, [[['id'], '"<ask>"'], [TOKEN, '"<ask>"']]);
  const path = ['params', 'progressToken'];
  return method === 'notifications/progress' && value(text, ...path) === call.token ? replaced(text, [[path, '"<token>"']]) : text;
}

// --- the comparison ---

let equal = 0;
let purposely = 0;
let different = 0;
let failed = 0;
const fail = text => {
  failed += 1;
  console.log(`FAILED lossless: ${text}`);
};
function apart(one = '(nothing)', other = '(nothing)') {
  let at = 0;
  while (at < Math.min(one.length, other.length) && one[at] === other[at]) at += 1;
  const part = text => JSON.stringify(text.slice(Math.max(0, at - 80), at + 120));
  return `from character ${at}: directly ${part(one)}, through the gateway ${part(other)}`;
}

const named = call => call.key.replace(/\s+/g, ' ').slice(0, 160);

function messages(direct, alias, context) {
  for (let at = 0; at < Math.max(direct.length, alias.length); at += 1) {
    const [one, other] = [direct[at], alias[at]];
    let expected = one;
    const applied = [];
    for (const rule of one === undefined ? [] : RULES) {
      if (!rule.when({ ...context, text: one })) continue;
      const edited = rule.edit(expected, context);
      if (edited !== expected) applied.push(rule);
      expected = edited;
    }
    if (expected !== other) {
      different += 1;
      fail(`${context.run}: ${context.where}: message ${at + 1}: ${apart(expected, other)}`);
      continue;
    }
    if (applied.length) purposely += 1;
    else equal += 1;
    for (const rule of applied) made.set(rule, made.get(rule) + 1);
  }
}

for (const wanted of runs) {
  const [run, floor] = wanted.split(':');
  const [direct, alias] = ['direct', 'alias'].map(way => sessions(join(folder, `${run}-${way}.jsonl`)));
  const before = equal + purposely;
  let [requests, unheard] = [0, 0];
  if (direct.length !== alias.length) fail(`${run}: ${direct.length} sessions directly, ${alias.length} through the gateway`);
  for (const [index, session] of direct.entries()) {
    const other = alias[index] ?? { calls: [], said: [], loose: [], changes: [] };
    const pages = {};
    for (const kind of ['calls', 'said']) {
      const rest = [...other[kind]];
      for (const call of session[kind]) {
        const found = rest.findIndex(one => one.key === call.key);
        const where = `session ${index + 1}: ${named(call)}`;
        if (found < 0) {
          fail(`${run}: ${where}: was only asked directly`);
          continue;
        }
        requests += 1;
        const pair = [call, ...rest.splice(found, 1)];
        // What a client did not stay for may have been under way already, or not.
        const heard = Math.min(...pair.map(one => (one.isLeft ? one.messages.length : Infinity)));
        unheard += Math.max(...pair.map(one => one.messages.length - heard), 0);
        messages(...pair.map(one => one.messages.slice(0, heard)), { run, where, pages, method: call.method, status: call.status });
      }
      for (const call of rest) fail(`${run}: session ${index + 1}: ${named(call)}: was only asked through the gateway`);
    }
    const where = `session ${index + 1}: the stream of no request`;
    messages(session.loose, other.loose, { run, where });
    messages([...session.changes].sort(), [...other.changes].sort(), { run, where: `${where}, changes of lists` });
  }
  const count = equal + purposely - before;
  console.log(`${run}: ${direct.length} sessions, ${requests} requests, ${count} messages, ${unheard} that the client did not stay for`);
  if (count < floor) fail(`${run}: only ${count} messages could be compared, ${floor} are expected`);
}
console.log(`\nof ${equal + purposely + different} compared: ${equal} equal, ${purposely} different on purpose, ${different} different`);
for (const [{ reason }, count] of made) {
  console.log(`  ${count} x ${reason}`);
  if (!count) fail(`this difference is not made any more: ${reason}`);
}
console.log(`lossless: ${equal + purposely} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
