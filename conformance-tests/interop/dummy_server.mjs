#!/usr/bin/env node
// A small MCP server that stands beside the fixture behind one aggregate: two tools, a prompt and a resource, whose
// names no one else has. Streamable HTTP, without sessions and without a library, so that it judges nothing.
//
// usage: dummy_server.mjs PORT
import { createServer } from 'node:http';

const text = { type: 'string', description: 'What is repeated' };
const number = { type: 'number', description: 'A summand' };
const TOOLS = [
  {
    name: 'dummy_echo',
    description: 'Repeats what it is given',
    inputSchema: { type: 'object', properties: { text }, required: ['text'] },
  },
  {
    name: 'dummy_add',
    description: 'Adds two numbers',
    inputSchema: { type: 'object', properties: { a: number, b: number }, required: ['a', 'b'] },
  },
];
const PROMPTS = [{ name: 'dummy_prompt', description: 'A prompt without arguments' }];
const RESOURCES = [
  { uri: 'dummy://resource', name: 'Dummy resource', description: 'A text that never changes', mimeType: 'text/plain' },
];

class Refusal extends Error {
  constructor(code, message, data) {
    super(message);
    this.code = code;
    this.data = data;
  }
}
const said = words => ({ content: [{ type: 'text', text: `${words}` }] });
function call({ name, arguments: given = {} }) {
  if (name === 'dummy_echo') return said(given.text);
  if (name === 'dummy_add') return said(given.a + given.b);
  throw new Refusal(-32602, `Unknown tool: ${name}`);
}
function prompt({ name }) {
  if (name !== 'dummy_prompt') throw new Refusal(-32602, `Unknown prompt: ${name}`);
  return { messages: [{ role: 'user', content: { type: 'text', text: 'This is the prompt of the dummy.' } }] };
}
function read({ uri }) {
  if (uri !== 'dummy://resource') throw new Refusal(-32002, 'Resource not found', { uri });
  return { contents: [{ uri, mimeType: 'text/plain', text: 'This is the resource of the dummy.' }] };
}
const VERSIONS = ['2025-11-25', '2025-06-18', '2025-03-26'];
const initialize = ({ protocolVersion }) => ({
  protocolVersion: VERSIONS.includes(protocolVersion) ? protocolVersion : VERSIONS[0],
  capabilities: { tools: {}, prompts: {}, resources: {} },
  serverInfo: { name: 'trunkline-dummy', version: '1' },
});
const METHODS = {
  initialize,
  ping: () => ({}),
  'tools/list': () => ({ tools: TOOLS }),
  'tools/call': call,
  'prompts/list': () => ({ prompts: PROMPTS }),
  'prompts/get': prompt,
  'resources/list': () => ({ resources: RESOURCES }),
  'resources/templates/list': () => ({ resourceTemplates: [] }),
  'resources/read': read,
};

function answer({ id, method, params = {} }) {
  try {
    if (!Object.hasOwn(METHODS, method)) throw new Refusal(-32601, `Method not found: ${method}`);
    return { jsonrpc: '2.0', id, result: METHODS[method](params) };
  } catch (refused) {
    return { jsonrpc: '2.0', id, error: { code: refused.code ?? -32603, message: refused.message, data: refused.data } };
  }
}

createServer((request, response) => {
  if (request.method !== 'POST') {
    response.writeHead(405, { Allow: 'POST' }).end();
    return;
  }
  let body = '';
  request.setEncoding('utf8').on('data', part => { body += part; }).on('end', () => {
    try {
      const message = JSON.parse(body);
      if (message.id === undefined || message.method === undefined) return response.writeHead(202).end();
      return response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(answer(message)));
    } catch {
      return response.writeHead(400).end();
    }
  });
}).listen(Number(process.argv[2]), '127.0.0.1');
