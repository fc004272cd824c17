// Messages as they are spelled: where a value stands in a text, and the events of a stream as they arrive.

// Of bytes that are not UTF-8 nothing could be said.
export const read = bytes => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);

// Hands on the data of every event that has some; bytes arrive in whatever pieces.
export function events(heard) {
  let rest = Buffer.alloc(0);
  let lines = [];
  return piece => {
    rest = Buffer.concat([rest, piece]);
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      const line = read(rest.subarray(0, end)).replace(/\r$/, '');
      rest = rest.subarray(end + 1);
      if (line) {
        const [, data] = /^data: ?([^]*)$/.exec(line) ?? [];
        if (data !== undefined) lines.push(data);
        continue;
      }
      if (lines.some(Boolean)) heard(lines.join('\n'));
      lines = [];
    }
  };
}

const space = /[ \t\n\r]*/y;
const token = /"(?:[^"\\]|\\.)*"|[^ \t\n\r,:[\]{}"]+/sy;
function match(pattern, text, from) {
  pattern.lastIndex = from;
  return pattern.exec(text)?.[0].length ?? 0;
}

// Where the value ends that begins at `from`; `part` hears of what is in it: begin, end, and the name in an object.
function skip(text, from, part) {
  if (text[from] !== '{' && text[from] !== '[') return from + match(token, text, from);
  const isObject = text[from] === '{';
  let at = from + 1;
  for (;;) {
    at += match(space, text, at);
    if (text[at] === '}' || text[at] === ']' || at >= text.length) return at + 1;
    let name;
    if (isObject) {
      const end = at + match(token, text, at);
      name = JSON.parse(text.slice(at, end));
      at = end + match(space, text, end) + 1;
      at += match(space, text, at);
    }
    const end = skip(text, at);
    part?.(at, end, name);
    at = end + match(space, text, end);
    if (text[at] === ',') at += 1;
  }
}

// The place of the value at a path of members, as [begin, end]; `undefined` if there is none.
export function place(text, ...path) {
  let at = match(space, text, 0);
  let found = [at, text.length];
  for (const wanted of path) {
    if (text[at] !== '{') return undefined;
    found = undefined;
    skip(text, at, (begin, end, name) => {
      if (name === wanted) found = [begin, end];
    });
    if (!found) return undefined;
    [at] = found;
  }
  return found;
}

// The value at a path as it is spelled.
export function value(text, ...path) {
  const found = place(text, ...path);
  return found && text.slice(...found);
}

// The items of the array at a path, as they are spelled.
export function items(text, ...path) {
  const found = [];
  skip(text, place(text, ...path)[0], (begin, end) => found.push(text.slice(begin, end)));
  return found;
}

// The text with other values at some paths; what is not there stays away.
export function replaced(text, changes) {
  const places = changes.map(([path, other]) => [place(text, ...path), other]).filter(([found]) => found);
  places.sort(([one], [two]) => two[0] - one[0]);
  return places.reduce((whole, [[begin, end], other]) => whole.slice(0, begin) + other + whole.slice(end), text);
}
