#!/usr/bin/env node
// A model that does as it is told, for agents that cannot be without one: to `CALL TOOL {JSON}` it calls the tool, and
// to what the tool says it answers with that. It speaks as much of the Messages API as an agent needs.
//
// usage: model_server.mjs PORT
import { createServer } from 'node:http';

const texts = content => (typeof content === 'string' ? [content] : (content ?? []).filter(part => part.type === 'text').map(part => part.text));
const words = content => (typeof content === 'string' ? content : texts(content).join('\n'));

// What comes next: a call, or what was asked for.
function next(messages, tools = []) {
  const last = messages.at(-1)?.content;
  const result = Array.isArray(last) && last.find(part => part.type === 'tool_result');
  if (result) return { type: 'text', text: `${result.is_error ? 'FAILED' : 'RESULT'}: ${words(result.content)}` };
  const order = messages.filter(message => message.role === 'user').flatMap(message => texts(message.content));
  const [, name, input] = /^CALL (\S+) (\{.*\})$/m.exec(order.join('\n')) ?? [];
  if (!name) return { type: 'text', text: 'nothing to do' };
  if (!tools.some(tool => tool.name === name)) {
    return { type: 'text', text: `NO SUCH TOOL: ${name} is not among ${tools.map(tool => tool.name).join(' ')}` };
  }
  return { type: 'tool_use', id: `toolu_${messages.length}`, name, input: JSON.parse(input) };
}

const usage = { input_tokens: 1, output_tokens: 1 };
function message({ model, messages, tools }) {
  const block = next(messages, tools);
  const stop_reason = block.type === 'tool_use' ? 'tool_use' : 'end_turn';
  return { id: 'msg_1', type: 'message', role: 'assistant', model, content: [block], stop_reason, stop_sequence: null, usage };
}
function events(whole) {
  const [block] = whole.content;
  const isCall = block.type === 'tool_use';
  const delta = isCall ? { type: 'input_json_delta', partial_json: JSON.stringify(block.input) } : { type: 'text_delta', text: block.text };
  return [
    { type: 'message_start', message: { ...whole, content: [], stop_reason: null } },
    { type: 'content_block_start', index: 0, content_block: isCall ? { ...block, input: {} } : { type: 'text', text: '' } },
    { type: 'content_block_delta', index: 0, delta },
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason: whole.stop_reason, stop_sequence: null }, usage },
    { type: 'message_stop' },
  ];
}

createServer((request, response) => {
  let body = '';
  request.setEncoding('utf8').on('data', part => { body += part; }).on('end', () => {
    const { pathname } = new URL(request.url, 'http://localhost');
    if (request.method !== 'POST' || !pathname.startsWith('/v1/messages')) return response.writeHead(404).end();
    const asked = JSON.parse(body);
    if (pathname.endsWith('/count_tokens')) return response.setHeader('Content-Type', 'application/json').end(JSON.stringify(usage));
    const whole = message(asked);
    if (!asked.stream) return response.setHeader('Content-Type', 'application/json').end(JSON.stringify(whole));
    response.setHeader('Content-Type', 'text/event-stream');
    for (const event of events(whole)) response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
    return response.end();
  });
}).listen(Number(process.argv[2]), '127.0.0.1');
