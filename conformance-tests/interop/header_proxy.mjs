#!/usr/bin/env node
// Passes every request on to one server with headers added, for programs that can send none.
//
// usage: header_proxy.mjs PORT URL < HEADERS      one `Name: value` on each line: arguments can be seen by others
//
// Listens on loopback. A Host or Origin that names this proxy is made to name the server; any other is left as it is,
// because whether the server refuses it is what a client may want to know.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';

const [port, address] = process.argv.slice(2);
const target = new URL(address);
const added = readFileSync(0, 'utf8').split('\n').filter(Boolean).map(line => {
  const colon = line.indexOf(':');
  return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
});
const own = [`127.0.0.1:${port}`, `localhost:${port}`];

http.createServer((request, response) => {
  const headers = { ...request.headers };
  if (own.includes(headers.host)) headers.host = target.host;
  if (own.some(host => headers.origin === `http://${host}`)) headers.origin = target.origin;
  for (const [name, value] of added) headers[name.toLowerCase()] = value;
  const { request: send } = target.protocol === 'https:' ? https : http;
  const onward = send(new URL(request.url, target), { method: request.method, headers, setHost: false }, answer => {
    response.writeHead(answer.statusCode, answer.headers);
    response.flushHeaders();
    answer.pipe(response);
    answer.on('error', () => response.destroy());
  });
  onward.on('error', error => {
    if (response.headersSent) response.destroy();
    else response.writeHead(502, { 'Content-Type': 'text/plain' }).end(`${error.message}\n`);
  });
  response.on('close', () => onward.destroy());
  request.pipe(onward);
}).listen(Number(port), '127.0.0.1');
