#!/usr/bin/env node
// Asks odd_server.mjs everything once, in requests that are spelled as oddly as its answers, and answers what it asks.
// It judges nothing: what passed is compared by who recorded it.
//
// usage: odd_client.mjs URL
import http from 'node:http';
import { events, read, value } from './bytes.mjs';
import { MILD, ODD } from './odd.mjs';

const url = new URL(process.argv[2]);
const headers = { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream', 'MCP-Protocol-Version': '2025-11-25' };
const ANSWERS = {
  'sampling/createMessage': `"result" :{"role":"assistant","model":"\\u0041", "content":{"type":"text","text":"\\u0041","x":1.10},"x-odd":${ODD}}`,
  'elicitation/create': `"result":{ "action":"accept","content":{"n":1.10,"e":1e0,"z":-0.0},"x-odd":${ODD} }`,
  'roots/list': `"error":{"code":-32001,"x-odd":${ODD},"message":"\\u0041","data":${ODD}}`,
};
const heard = new Set();
let wake = () => {};

function hear(text) {
  const { id, method } = JSON.parse(text);
  heard.add(method);
  wake();
  if (method === undefined || id === undefined) return;
  const own = value(text, 'id');
  const token = value(text, 'params', '_meta', 'progressToken');
  const reply = () => post(`{ ${ANSWERS[method]} ,"x-top":1.10,"id": ${own} , "jsonrpc":"2.0"}`);
  if (token === undefined) reply();
  else post(`{"method":"notifications/progress", "params":{"progressToken": ${token} ,"progress":1.10,"x-odd":${ODD}},"jsonrpc":"2.0"}`).then(reply);
}

// Sends, and waits until all of the answer is there.
function send(method, body) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method, headers, agent: false }, response => {
      headers['Mcp-Session-Id'] ??= response.headers['mcp-session-id'];
      if (method === 'GET') resolve();
      const listen = `${response.headers['content-type']}`.startsWith('text/event-stream') ? events(hear) : () => {};
      response.on('data', listen).on('end', resolve).on('error', resolve);
    });
    request.on('error', reject).end(body);
  });
}
const post = body => send('POST', body);

const IDS = ['7', '0', '-1', '1.50', '"\\u0041/ä"', '123456789012345678901234567890', '""', '1e2'];
let count = 0;
// Ids of every legal form, each once.
function ask(method, members, fails = false) {
  const id = IDS[count] ?? `${1000 + count}`;
  count += 1;
  return post(`{ "method" : ${JSON.stringify(method).replace('/', '\\/')},"x-top":[1.10],\n "params":{ ${members}"x-fail":${fails},"x-odd":${ODD} },"jsonrpc":"2.0" ,"id": ${id} }`);
}
const call = (name, more = '') => ask('tools/call', `"name" :"${name}", "arguments":${more || ODD} ,`);
const METHODS = {
  ping: '',
  'tools/list': '',
  'prompts/list': '',
  'resources/list': '',
  'resources/templates/list': '',
  'prompts/get': `"name":"\\u0070rompt","arguments":{"n":"\\u0041"},`,
  'resources/read': '"uri":"odd:\\/\\/one",',
  'resources/subscribe': '"uri":"odd:\\/\\/one",',
  'completion/complete': '"ref":{"name":"prom\\u0070t", "type":"ref/prompt","x":1.10},"argument":{"name":"n","value":"\\u0041"},',
  'logging/setLevel': '"level":"\\u0064ebug",',
  'tools/call': '"name":"\\u0070lain", "arguments":{},',
  'tasks/get': '"taskId":"ta\\u0073k",',
  'tasks/list': '',
  'tasks/result': '"taskId":"ta\\u0073k",',
  'tasks/cancel': '"taskId":"ta\\u0073k",',
  'vendor/odd': '"n":1.10,',
  'vendor/unknown': '"n":1.10,',
};

await post('{"jsonrpc":"2.0","id":"first","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":'
  + `{"sampling":{},"elicitation":{},"roots":{"listChanged":true},"experimental":{"x":${MILD}}},"clientInfo":{ "name":"\\u006fdd","version":"1.10","x-odd":${MILD}}}}`);
await post('{"jsonrpc":"2.0","method":"notifications/initialized"}');
await send('GET');
// A call that makes its task known comes before it is asked for.
await ask('tools/call', `"name":"task","arguments":{},"task":{"ttl":6.0e4,"x-odd":${ODD}},`);
for (const [method, members] of Object.entries(METHODS)) await ask(method, members);
for (const [method, members] of Object.entries(METHODS)) await ask(method, members, true);
await call('failing');
for (const token of ['"1"', '1', '0.10', '"\\u0000"', '18446744073709551616']) {
  await ask('tools/call', `"_meta":{"a/b":1e2,"progressToken": ${token} }, "name":"notices","arguments":${ODD},`);
}
await call('asking');
await call('asking-late');
const TOLD = ['"notifications/roots/list_changed"', '"notifications\\/vendor-odd"'];
for (const method of TOLD) await post(` {"method":${method},"x-top":1.10, "params":{"n":1.10,"x-odd":${ODD} },"jsonrpc":"2.0"}`);
// And what it said of itself, and twice of its progress when it was asked.
await call('tell', `{"wanted":${TOLD.length + 3}}`);
await call('slow');
await call('announce');
const end = Date.now() + 5_000;
while (!heard.has('notifications/vendor-last') && Date.now() < end) {
  await new Promise(resolve => {
    wake = resolve;
    setTimeout(resolve, 50);
  });
}
// What a gateway says of lists comes when it has read them again.
await new Promise(resolve => setTimeout(resolve, 1_500));
await ask('resources/unsubscribe', '"uri":"odd:\\/\\/one",');
await send('DELETE');
process.exit(0);
