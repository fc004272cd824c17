// What every server of the era matrix does, whatever its era: app.py in JavaScript, see there.
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];
export const STATELESS = '2026-07-28';
export const TASKS = 'io.modelcontextprotocol/tasks';

// An error that goes to the client as it is.
export class Fault extends Error {
  constructor(code, message, data) {
    super(message);
    Object.assign(this, { code, data });
  }
}
// The client did not answer what it was asked.
export class Refused extends Error {}
// A stateless server must be called again with these answers.
export class Needed extends Error {
  constructor(requests, state) {
    super('input required');
    Object.assign(this, { requests, state });
  }
}

export const said = (text, more = {}) => ({ content: [{ type: 'text', text }], ...more });
export const told = data => said(JSON.stringify(data));

// What an `Mcp-Param-*` header says.
function mirrored(value) {
  const coded = /^=\?base64\?(.*)\?=$/.exec(value ?? '');
  return coded ? Buffer.from(coded[1], 'base64').toString() : value ?? 'nobody';
}

// The states of calls that were answered with `input_required`; a state must come back byte for byte.
export class Rounds {
  known = new Map();
  answers(state, responses) {
    if (state === undefined) return {};
    if (!this.known.has(state)) throw new Fault(-32602, 'this requestState is not one of ours', { reason: 'invalid_request_state' });
    return { ...this.known.get(state), ...responses };
  }
  need(requests, answers) {
    const state = `état "${randomBytes(9).toString('base64url')}" \\ 漢 🚂 / end`;
    this.known.set(state, { ...answers });
    return new Needed(requests, state);
  }
}

// The capability that a client must have for this ask.
export function needs({ method, params }) {
  if (method === 'elicitation/create') return { elicitation: { [params.mode ?? 'form']: {} } };
  return method.startsWith('sampling') ? { sampling: {} } : { roots: {} };
}
export function able(capabilities, needed) {
  return Object.entries(needed).every(([name, inner]) => {
    const has = capabilities?.[name];
    if (!has) return false;
    const modes = Object.keys(inner);
    return name !== 'elicitation' || modes.every(mode => mode in has) || (modes.includes('form') && !Object.keys(has).length);
  });
}

export class App {
  constructor(revision, scheme) {
    this.things = JSON.parse(readFileSync(new URL('things.json', import.meta.url), 'utf8').replaceAll('eras://', `${scheme}://`));
    Object.assign(this, { revision, scheme, stateless: revision === STATELESS });
    this.added = { tools: [], prompts: [], resources: [] };
    this.seen = new Map();
    this.touched = new Map();
    this.visited = new Set();
    this.tools = this.things.tools.map(one => this.defined(one)).filter(Boolean);
    // Set by the server: async kind => {}, async uri => {}.
    this.changed = this.updated = undefined;
  }

  at(path) {
    return `${this.scheme}://${path}`;
  }

  // A tool as this revision can define it; undefined if it is not one of this revision.
  defined({ from = '', to = '9', ...tool }) {
    if (this.revision < from || this.revision > to) return undefined;
    if (this.revision < '2025-06-18') delete tool.outputSchema;
    if (this.revision !== '2025-11-25') delete tool.execution;
    return tool;
  }

  page(kind, key, everything, { cursor }) {
    const start = Number(cursor ?? 0);
    if (!Number.isInteger(start)) throw new Fault(-32602, 'Unknown cursor');
    const end = start + this.things.page[kind];
    return { [key]: everything.slice(start, end), ...(end < everything.length && { nextCursor: String(end) }) };
  }

  async answer(method, call, params = {}) {
    const all = kind => [...this.things[kind], ...this.added[kind]];
    switch (method) {
      case 'tools/list': return this.page('tools', 'tools', [...this.tools, ...this.added.tools], params);
      case 'prompts/list': return this.page('prompts', 'prompts', all('prompts'), params);
      case 'resources/list': return this.page('resources', 'resources', all('resources'), params);
      case 'resources/templates/list': return this.page('templates', 'resourceTemplates', this.things.templates, params);
      case 'prompts/get': return this.prompt(call, params.name, params.arguments ?? {});
      case 'resources/read': return this.read(call, params.uri);
      case 'completion/complete': return this.complete(params);
      case 'tools/call':
        try {
          return await this.tool(call, params.name, params.arguments ?? {});
        } catch (error) {
          if (error instanceof Refused) return said(`refused: ${error.message}`, { isError: true });
          throw error;
        }
      default: throw new Fault(-32601, `Method not found: ${method}`);
    }
  }

  sampling(word) {
    return {
      messages: [{ role: 'user', content: { type: 'text', text: word } }],
      maxTokens: 77, systemPrompt: 'Be the matrix.', temperature: 0.25, stopSequences: ['END'],
    };
  }
  async model(call, word, key = 'model') {
    return (await call.ask({ [key]: { method: 'sampling/createMessage', params: this.sampling(word) } }))[key].content.text;
  }

  async tool(call, name, args) {
    if (!this.tools.some(one => one.name === name)) {
      if (this.added.tools.some(one => one.name === name)) return said(`${name} was called`);
      throw new Fault(-32602, `Unknown tool: ${name}`);
    }
    const { value, word = '' } = args;
    switch (name) {
      case 'echo':
        return { content: [
          { type: 'text', text: value },
          { type: 'image', mimeType: 'image/png', data: Buffer.from(value).toString('base64') },
          { type: 'resource', resource: { uri: this.at('text'), mimeType: 'text/plain', text: value } },
        ] };
      case 'weigh': {
        const structured = { value, list: [1, 2.5, null, { deep: [true] }] };
        return { ...told(structured), ...(this.revision >= '2025-06-18' && { structuredContent: structured }) };
      }
      case 'weigh_list': return { ...told([value, 7]), structuredContent: [value, 7] };
      case 'routed': return said(`routed to ${args.region}, by header to ${mirrored(call.headers?.get('mcp-param-region'))}`);
      case 'fail': return said(`failed on purpose: ${value}`, { isError: true });
      case 'steps':
        for (const done of [1, 2, 3]) {
          await call.progress(done, 3, `${word} ${done}`);
          await sleep(30);
        }
        await sleep(100); // a client may lose a report that arrives in the same read as the result
        return said(`steps ${word}`);
      case 'wait': return this.wait(call, args.label);
      case 'seen': return told(this.seen.get(args.label) ?? {});
      case 'log':
        for (const level of ['debug', 'info', 'warning', 'error']) await call.log(level, { word, level });
        await sleep(50);
        return said(`logged ${word}`);
      case 'change': return this.change(args);
      case 'touch':
        this.touched.set(args.uri, (this.touched.get(args.uri) ?? 0) + 1);
        await this.updated(args.uri);
        return said('touched');
      case 'whoami': return told({ client: call.client, capabilities: call.capabilities, revision: this.revision });
      case 'ping_me':
        await call.ping();
        return said('pong');
      default: return this.asking(call, name, word);
    }
  }

  async asking(call, name, word) {
    const roots = { method: 'roots/list' };
    switch (name) {
      case 'ask_form': {
        const params = { message: `Who? ${word}`, requestedSchema: this.things.form };
        if (this.revision >= '2025-11-25') params.mode = 'form';
        return told((await call.ask({ user: { method: 'elicitation/create', params } })).user);
      }
      case 'ask_url': {
        const params = { mode: 'url', message: `Go there ${word}`, url: `https://eras.example/${word}` };
        if (!this.stateless) params.elicitationId = `url-${word}`;
        const { there } = await call.ask({ there: { method: 'elicitation/create', params } });
        if (!this.stateless) await call.completed(`url-${word}`);
        return told(there);
      }
      case 'need_url':
        if (this.visited.has(word)) return said(`visited ${word}`);
        this.visited.add(word);
        throw new Fault(-32042, 'Go there first', { elicitations: [
          { mode: 'url', message: 'Go there first', url: `https://eras.example/${word}`, elicitationId: `need-${word}` }] });
      case 'ask_model': return said(await this.model(call, word));
      case 'ask_roots': return told((await call.ask({ roots })).roots.roots);
      case 'ask_two': {
        const got = await call.ask({ roots, model: { method: 'sampling/createMessage', params: this.sampling(word) } });
        return told({ roots: got.roots.roots, model: got.model.content.text });
      }
      case 'ask_row': return said(await this.model(call, `again ${await this.model(call, word, 'first')}`, 'second'));
      default: throw new Fault(-32603, `${name} is not answered here`);
    }
  }

  count(label, what) {
    const seen = this.seen.get(label) ?? {};
    this.seen.set(label, { ...seen, [what]: (seen[what] ?? 0) + 1 });
  }
  async wait(call, label) {
    this.count(label, 'started');
    await call.progress(1, 2, 'waiting');
    try {
      await sleep(30000, undefined, { signal: call.signal });
    } catch (error) {
      this.count(label, 'cancelled');
      throw error;
    }
    this.count(label, 'finished');
    return said('nobody cancelled');
  }

  async change({ verb, kind, name }) {
    const kinds = `${kind}s`;
    const more = { tool: { inputSchema: { type: 'object' } }, prompt: {}, resource: { uri: this.at(`added/${name}`) } }[kind];
    this.added[kinds] = this.added[kinds].filter(one => one.name !== name);
    if (verb === 'add') this.added[kinds].push({ name, ...more });
    await this.changed(kind);
    return said(`${verb} ${kind} ${name}`);
  }

  async answered(call, word) {
    try {
      return await this.model(call, word);
    } catch (error) {
      throw error instanceof Refused ? new Fault(-32603, `refused: ${error.message}`) : error;
    }
  }
  async prompt(call, name, args) {
    if (![...this.things.prompts, ...this.added.prompts].some(one => one.name === name)) throw new Fault(-32602, `Unknown prompt: ${name}`);
    let text = name === 'greet' ? `Greet ${args.name}!` : `prompt ${name}`;
    if (name === 'consult') text = `the model says ${await this.answered(call, args.word)}`;
    return { description: name, messages: [{ role: 'user', content: { type: 'text', text } }] };
  }
  async read(call, uri) {
    const is = text => ({ contents: [{ uri, mimeType: 'text/plain', text }] });
    if (uri === this.at('blob')) {
      const blob = Buffer.from(Array.from({ length: 256 }, (_, n) => n)).toString('base64');
      return { contents: [{ uri, mimeType: 'application/octet-stream', blob }] };
    }
    const consult = this.at('consult/');
    if (uri.startsWith(consult)) return is(`the model says ${await this.answered(call, uri.slice(consult.length))}`);
    const listed = [...this.things.resources, ...this.added.resources].some(one => one.uri === uri);
    if (!listed && !uri.startsWith(this.at('item/'))) throw new Fault(this.stateless ? -32602 : -32002, `Resource not found: ${uri}`, { uri });
    if (this.touched.has(uri)) return is(`${uri} touched ${this.touched.get(uri)} times`);
    return is(uri === this.at('text') ? this.things.text : `content of ${uri}`);
  }

  complete({ ref, argument }) {
    let choices = [];
    if (ref.type === 'ref/prompt' && ref.name === 'greet') choices = this.things.names;
    else if (ref.type === 'ref/resource' && ref.uri === this.at('item/{id}')) choices = this.things.ids;
    const values = choices.filter(choice => choice.startsWith(argument.value));
    return { completion: { values, total: values.length, hasMore: false } };
  }
}

// The tasks of the stateless era's extension (`io.modelcontextprotocol/tasks`).
export class Jobs {
  known = new Map();
  start(word) {
    const task = `job-${randomBytes(6).toString('hex')}`;
    this.known.set(task, { word, began: Date.now(), cancelled: false });
    return { resultType: 'task', ...this.state(task) };
  }
  state(task) {
    const job = this.known.get(task);
    if (!job) throw new Fault(-32602, `Unknown task: ${task}`);
    const age = Date.now() - job.began;
    const state = {
      taskId: task, status: 'working', statusMessage: age < 200 ? 'begun' : 'half done',
      createdAt: new Date(job.began).toISOString(), lastUpdatedAt: new Date().toISOString(), ttlMs: 60000, pollIntervalMs: 100,
    };
    if (job.cancelled) return { ...state, status: 'cancelled', statusMessage: 'cancelled' };
    if (age < 500) return state;
    return { ...state, status: 'completed', statusMessage: 'done', result: { resultType: 'complete', ...said(`job ${job.word} done`) } };
  }
}
