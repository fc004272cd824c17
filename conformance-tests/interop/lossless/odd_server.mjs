#!/usr/bin/env node
// A server whose messages are legal and spelled oddly, and which repeats in its results what reached it, as it came.
// Streamable HTTP with sessions, without a library, so that nothing is tidied up on the way.
//
// usage: odd_server.mjs PORT
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { read, replaced, value } from './bytes.mjs';
import { MORE, ODD } from './odd.mjs';

const quoted = JSON.stringify;
// What came, but for what is the sender's alone to choose.
const came = text => replaced(text, [
  [['id'], '"<id>"'],
  [['params', '_meta', 'progressToken'], '"<token>"'],
  [['params', 'progressToken'], '"<token>"'],
  [['params', 'requestId'], '"<id>"'],
]);
const result = (id, members) => `{"x-top":${ODD}, "result" :{ ${members} , ${MORE}},"id": ${id} , "jsonrpc":"2.0"}`;
const error = id =>
  `{"jsonrpc":"2.0","x-top":1.10 , "error":{"code":-32042,"x-odd":${ODD},"message":"\\u006do\\/","data":${ODD}} , "id":${id}}`;
const notice = (method, params) => ` {"params":{${params},"x-odd":${ODD} },"x-top":1.0,"method":${method}, "jsonrpc":"2.0" }`;
const ask = (id, method, params) => notice(method, params).replace('"x-top"', `"id": ${id} ,"x-top"`);
const progress = (token, step) => notice('"notifications\\/progress"', `"progress":${step} ,"progressToken": ${token}, "total":1e2`);
const log = text => notice('"notifications/message"', `"level":"info", "data":{"text":${text}, "n":1.10}`);

const tool = (name, more = '') =>
  `{ "x-odd":${ODD},\n "inputSchema":{"type":"object" ,"properties":{"n":{"maximum":1.10e0}},"$comment":"\\u0041"}, "name":"${name}"${more},"annotations":{"title":"\\u0041","x":1.0},"_meta":{"ui":{ }} }`;
const TOOLS = ['plain', 'failing', 'notices', 'asking', 'asking-late', 'announce', 'tell', 'slow', 'task'];
const LISTS = {
  'tools/list': `"tools":[ ${TOOLS.map(name => tool(name)).join(' ,\n')} ]`,
  'prompts/list': `"prompts":[ {"name":"prom\\u0070t", "arguments":[{"name":"n","x":1.10}],${MORE}} ]`,
  'resources/list': `"resources":[{"uri" : "odd:\\/\\/one","name":"one", "size":1.0e1,${MORE}}]`,
  'resources/templates/list': `"resourceTemplates":[{"uriTemplate" : "odd:\\/\\/{x}","name":"\\u0078",${MORE}}]`,
};
const CAPABILITIES = '"tools":{ },"prompts":{"listChanged":false},"resources":{"subscribe":true},"logging":{},"completions":{},'
  + '"tasks":{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}},"experimental":{"x":{"n":1.10,"e":1e2,"esc":"\\u0041"}}';
const TASK = '"taskId":"ta\\u0073k", "status":"working" ,"createdAt":"2025-11-25T00:00:00.0Z","lastUpdatedAt":"2025-11-25T00:00:00.0Z","ttl":6e4,"pollInterval":1.0e3';
// Everything else that answers at once: the members of the result.
const SIMPLE = {
  ping: '"x-pong":1.10',
  'prompts/get': '"messages":[ {"role":"user","content":{"type":"text","text":"\\u0041","x":1.10}} ]',
  'resources/read': `"contents":[{"uri":"odd:\\/\\/one", "text":"\\u0041","x-odd":${ODD}}]`,
  'resources/subscribe': '"x-done":1.10',
  'resources/unsubscribe': '"x-done":1.10',
  'completion/complete': '"completion":{"values":[ "\\u0041" ], "total":1.0,"x":1.10}',
  'logging/setLevel': '"x-done":1.10',
  'tasks/get': TASK,
  'tasks/list': `"tasks":[ {${TASK}} ]`,
  'tasks/cancel': TASK,
  'tasks/result': '"content":[ ] ,"structuredContent":{"n":1.10}',
  'vendor/odd': '"x-done":1.10',
};
const ASKS = {
  'sampling/createMessage': `"messages":[{"role":"user","content":{"type":"text","text":"\\u0041","x-odd":${ODD}}}], "maxTokens":1e2,"temperature":0.10`,
  'elicitation/create': `"message":"\\u0041", "requestedSchema":{"type":"object" ,"properties":{"n":{"type":"number","minimum":-0.0,"maximum":1.10,"x":1e2}}},"_meta":{"progressToken":"own","a/b":1.0}`,
  'roots/list': '"_meta":{"a/b":1.10}',
};

const sessions = new Map();
const event = text => `${text.split('\n').map(line => `data: ${line}\n`).join('')}\n`;
const soon = ms => new Promise(resolve => setTimeout(resolve, ms));

// Asks on a stream, and gives what came back, as it came.
function question(session, stream, method) {
  const id = method === 'roots/list' ? '"\\u0041sk"' : `${(session.asked += 1)}`;
  const answer = new Promise(resolve => session.waiting.set(JSON.parse(id), resolve));
  stream.write(event(ask(id, quoted(method).replace('/', '\\/'), ASKS[method])));
  return answer;
}

async function call(session, name, id, body, response) {
  const content = `"content":[ {"type":"text","text":${quoted(came(body))},"x":1.10} ],"structuredContent":${ODD},"isError":false`;
  const stream = () => response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  const json = text => response.writeHead(200, { 'Content-Type': 'application/json' }).end(text);
  if (name === 'plain') return json(result(id, content));
  if (name === 'failing') return json(result(id, content.replace(/false$/, 'true')));
  if (name === 'task') return json(result(id, `"task":{${TASK},"x-odd":${ODD}}`));
  if (name === 'slow') {
    await soon(5_500); // longer than a gateway waits before it answers with a stream
    return json(result(id, content));
  }
  if (name === 'notices') {
    stream();
    const given = value(body, 'params', '_meta', 'progressToken');
    for (const step of ['-0.0', '1.10', '1e2']) response.write(event(progress(given, step)));
    response.write(event(log('"\\u0041"')));
    response.write(event(notice('"notifications/vendor-odd"', '"n":1.10')));
    return response.end(event(result(id, content)));
  }
  if (name === 'asking' || name === 'asking-late') {
    stream().flushHeaders();
    const said = [];
    const on = name === 'asking' ? response : session.stream;
    for (const method of Object.keys(ASKS)) said.push(came(await question(session, on, method)));
    return response.end(event(result(id, `"content":[],"structuredContent":{"said":${quoted(said)}}`)));
  }
  if (name === 'announce') {
    const say = text => session.stream.write(event(text));
    for (const kind of ['tools', 'prompts', 'resources']) say(notice(`"notifications/${kind}/list_changed"`, '"n":1.10'));
    say(notice('"notifications/resources/updated"', '"uri":"odd:\\/\\/one"'));
    say(log('"\\u0042"'));
    say(notice('"notifications/elicitation/complete"', '"elicitationId":"\\u0065"'));
    say(notice('"notifications/tasks/status"', TASK));
    say(notice('"notifications/vendor-odd"', '"n":1.20'));
    say(notice('"notifications/vendor-last"', '"n":1.30'));
    return json(result(id, content));
  }
  // What the client said of itself, and since then, when it is as much as it announced.
  const { wanted } = JSON.parse(body).params.arguments;
  for (let tries = 0; tries < 100 && session.told.length < wanted; tries += 1) await soon(20);
  // A client's notifications are POSTs of their own, which may overtake each other on any way.
  const method = text => JSON.parse(text).method;
  const told = session.told.splice(0).sort((one, other) => (method(one) < method(other) ? -1 : Number(method(one) > method(other))));
  return json(result(id, `"content":[],"structuredContent":{"told":${quoted(told)}}`));
}

async function answer(session, body, response) {
  const { method, params = {} } = JSON.parse(body);
  const id = value(body, 'id');
  const json = text => response.writeHead(200, { 'Content-Type': 'application/json' }).end(text);
  if (params['x-fail']) return json(error(id));
  if (Object.hasOwn(LISTS, method)) return json(result(id, LISTS[method]));
  if (Object.hasOwn(SIMPLE, method)) return json(result(id, `${SIMPLE[method]}, "came":${quoted(came(body))}`));
  if (method === 'tools/call') return call(session, params.name, id, body, response);
  return json(error(id));
}

createServer((request, response) => {
  const session = sessions.get(request.headers['mcp-session-id']);
  if (request.method === 'GET' && session) {
    session.stream = response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.flushHeaders();
    return;
  }
  if (request.method === 'DELETE' && session) {
    session.stream?.end();
    response.writeHead(200).end();
    return;
  }
  const pieces = [];
  request.on('data', piece => pieces.push(piece)).on('end', async () => {
    const body = read(Buffer.concat(pieces));
    const message = JSON.parse(body);
    if (message.method === 'initialize') {
      const opened = randomUUID();
      sessions.set(opened, { asked: 0, waiting: new Map(), told: [came(body)], stream: undefined });
      response.writeHead(200, { 'Content-Type': 'application/json', 'Mcp-Session-Id': opened });
      response.end(`{"jsonrpc":"2.0","id":${value(body, 'id')},"result":{"protocolVersion":"2025-11-25","capabilities":{${CAPABILITIES}},`
        + `"serverInfo":{ "name":"\\u006fdd","version":"1.10","x-odd":${ODD}},"instructions":"\\u0041\\/ä","_meta":{"a/b":1.10},"x-odd":1.10}}`);
    } else if (!session) {
      response.writeHead(404).end();
    } else if (message.method !== undefined && message.id !== undefined) {
      await answer(session, body, response);
    } else {
      if (message.method === undefined) session.waiting.get(message.id)?.(body);
      else if (message.method !== 'notifications/initialized') session.told.push(came(body));
      response.writeHead(202).end();
    }
  });
}).listen(Number(process.argv[2]), '127.0.0.1');
