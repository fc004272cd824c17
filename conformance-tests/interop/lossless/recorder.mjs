#!/usr/bin/env node
// A proxy that changes nothing, and writes down what passes: every request of a client, and every message that a
// server sends for it, byte for byte, in a JSON answer or as the data of one event of a stream.
//
// usage: recorder.mjs DIR NAME=ORIGIN...
//
// One listener on a free port of loopback for each NAME; DIR/NAME.url says where, DIR/NAME.jsonl is what passed, one
// line for each happening: a request, the head of its answer, a message, the end, or that the client left before it. `n` is the request that it belongs
// to, and the order of the lines is the order in which they passed.
import { openSync, writeFileSync, writeSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { events, read } from './bytes.mjs';

function record(folder, name, origin) {
  const file = openSync(join(folder, `${name}.jsonl`), 'w');
  const write = happening => writeSync(file, `${JSON.stringify(happening)}\n`);
  const target = new URL(origin);
  let count = 0;
  const server = http.createServer((request, response) => {
    const n = (count += 1);
    const { 'mcp-session-id': session, 'last-event-id': after } = request.headers;
    const asked = [];
    const path = request.url;
    let isOver = false;
    const broken = error => {
      if (!isOver) write({ n, what: 'broken', why: error.message });
      isOver = true;
      response.destroy();
    };
    const known = { n, what: 'request', method: request.method, path, session, after };
    // As they came, Host and Origin too: the spelling and the order of all headers is the client's.
    const onward = http.request(
      { host: target.hostname, port: target.port, method: request.method, path, headers: request.rawHeaders, agent: false },
      answer => {
        const type = answer.headers['content-type'] ?? '';
        write({ n, what: 'head', status: answer.statusCode, type, session: answer.headers['mcp-session-id'] });
        response.writeHead(answer.statusCode, answer.rawHeaders);
        response.flushHeaders();
        const message = text => write({ n, what: 'message', text });
        const hear = type.startsWith('text/event-stream') ? events(message) : undefined;
        const whole = [];
        answer.on('data', piece => {
          // Written down before the client has it: what it causes comes later in the file.
          if (hear) hear(piece);
          else whole.push(piece);
          if (!response.write(piece)) answer.pause();
        });
        response.on('drain', () => answer.resume());
        answer.on('end', () => {
          if (whole.length) message(read(Buffer.concat(whole)));
          write({ n, what: 'end' });
          response.end();
        });
        answer.on('error', broken);
      },
    );
    request.on('data', piece => asked.push(piece));
    request.on('end', () => {
      write({ ...known, body: read(Buffer.concat(asked)) });
      onward.end(Buffer.concat(asked));
    });
    onward.on('error', broken);
    response.on('close', () => {
      if (!isOver && !response.writableFinished) write({ n, what: 'left' });
      isOver = true;
      onward.destroy();
    });
  });
  server.listen(0, '127.0.0.1', () => {
    writeFileSync(join(folder, `${name}.url`), `http://127.0.0.1:${server.address().port}`);
  });
}

const [folder, ...places] = process.argv.slice(2);
for (const place of places) record(folder, place.slice(0, place.indexOf('=')), place.slice(place.indexOf('=') + 1));
