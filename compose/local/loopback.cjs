// Preloaded (node --require) into servers that have no option for the address they listen on.
// Such a server would be open to the whole network; with this it is open to this machine only.
'use strict';
const net = require('node:net');

const HOST = '127.0.0.1';
const EVERYWHERE = new Set([undefined, null, '', '0.0.0.0', '::', '::0', '*']);
const listen = net.Server.prototype.listen;

net.Server.prototype.listen = function (...args) {
  const [first] = args;
  if (first !== null && typeof first === 'object') {
    // listen({ port, host, … }); a path, a handle or a file descriptor is left as it is.
    if (first.port !== undefined && EVERYWHERE.has(first.host)) {
      args[0] = { ...first, host: HOST };
    }
  } else if (typeof first === 'number' || (typeof first === 'string' && /^\d+$/.test(first))) {
    // listen(port[, host][, backlog][, callback])
    const hostGiven = typeof args[1] === 'string' || args[1] === null || args[1] === undefined;
    if (args.length > 1 && hostGiven) {
      if (EVERYWHERE.has(args[1])) args[1] = HOST;
    } else {
      args.splice(1, 0, HOST);
    }
  } else if (typeof first === 'function' || args.length === 0) {
    // listen([callback]): any free port
    args = [0, HOST, ...args];
  }
  return listen.apply(this, args);
};
