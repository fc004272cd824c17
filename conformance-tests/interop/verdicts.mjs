#!/usr/bin/env node
// Reads what suite.sh let the suite write, and gives the verdict: a table of scenarios and endpoints for each version
// of the suite, and every difference.
//
// usage: verdicts.mjs --columns direct,NAME... [--revision R] [--compare] [--uncarried NAME:SCENARIO:REASON]...
//                     [--across NAME:ERA]... RUN-DIR...
//
// A scenario passes if it has a check that succeeded and none that failed or warned; without checks it does not pass.
// A gateway also loses a check that succeeded directly and is not made any more. Where the suite itself says, with a
// check of status INFO or SKIPPED, that it could not ask, that is named but no loss.
// In the table stand the number of checks that succeeded, and LOST where a gateway passes with fewer than it should.
// What the transport of an upstream cannot carry is said with --uncarried: it is named in the table, and it is a failure
// if the scenario passes all the same or fails in any other way than by not being made.
// What stands in cannot.mjs ends as it is said there and in no other way, or it is a failure: for every endpoint, or for
// those behind which the upstream speaks only the other era, as is said with --across.
// With --compare the server itself may fail, and only what gateways lose counts.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { CANNOT } from './cannot.mjs';

const { values: options, positionals: runs } = parseArgs({
  allowPositionals: true,
  options: { columns: { type: 'string' }, revision: { type: 'string', default: '' }, compare: { type: 'boolean', default: false }, uncarried: { type: 'string', multiple: true, default: [] }, across: { type: 'string', multiple: true, default: [] } },
});
const columns = options.columns.split(',');
const [direct, ...gateways] = columns;
const text = file => (existsSync(file) ? readFileSync(file, 'utf8') : '');
const short = words => `${words ?? ''}`.replace(/\s+/g, ' ').trim().slice(0, 400);
const BAD = ['FAILURE', 'WARNING'];
const ORDER = [...BAD, 'SUCCESS', 'SKIPPED', 'INFO'];

// The scenarios of a list as the suite prints it: required ones, and others with the reason for which they are not.
function scenarios(list) {
  const found = new Map();
  let group = 'required';
  for (const line of list.split('\n')) {
    const [, heading] = /^ {2}([a-z-]+) \(\d+\):$/.exec(line) ?? [];
    if (heading) group = heading;
    if (/^Client scenarios/.test(line)) group = undefined;
    const [, name, tags = ''] = /^ +- (\S+)(?: \[(.*)\])?$/.exec(line) ?? [];
    if (name && group && tags !== 'client') found.set(name, group);
  }
  return found;
}

// scenario -> its checks, of one endpoint.
function results(folder) {
  const found = new Map();
  for (const entry of existsSync(folder) ? readdirSync(folder).sort() : []) {
    const [, name] = /^server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z$/.exec(entry) ?? [];
    if (name) found.set(name, JSON.parse(text(join(folder, entry, 'checks.json')) || '[]'));
  }
  return found;
}

// id -> the check that says most about it: the worst one that was made.
function byId(checks) {
  const found = new Map();
  for (const check of checks) {
    const known = found.get(check.id);
    if (!known || ORDER.indexOf(check.status) < ORDER.indexOf(known.status)) found.set(check.id, check);
  }
  return found;
}
const message = check => short(check.errorMessage ?? check.details?.message ?? check.description);

function judge(checks = [], reference = []) {
  const [own, theirs] = [byId(checks), byId(reference)];
  const all = [...own.values()];
  const bad = all.filter(check => BAD.includes(check.status));
  const cell = { passes: !bad.length && all.some(check => check.status === 'SUCCESS'), lost: [], gained: [], named: [] };
  cell.checks = checks.filter(check => check.status === 'SUCCESS').length;
  cell.bad = bad.map(check => `${check.id}: ${check.status}: ${message(check)}`);
  if (!checks.length) cell.bad.push('the suite wrote no checks');
  for (const check of bad) {
    const before = theirs.get(check.id)?.status;
    if (!BAD.includes(before) || ORDER.indexOf(check.status) < ORDER.indexOf(before)) {
      cell.lost.push(`${check.id}: ${before ?? 'not made'} directly, ${check.status} here: ${message(check)}`);
    }
  }
  const missing = [];
  for (const [id, { status }] of theirs) {
    const here = own.get(id);
    if (status === 'SUCCESS' && !here) missing.push(id);
    if (status === 'SUCCESS' && here && !BAD.includes(here.status) && here.status !== 'SUCCESS') {
      cell.named.push(`${id}: SUCCESS directly, ${here.status} here: ${message(here)}`);
    }
    if (BAD.includes(status) && here?.status === 'SUCCESS') cell.gained.push(`${id}: ${status} directly, SUCCESS here`);
  }
  // Where any server may be compared, the suite's own word that its checks do not apply to an answer is taken.
  const applies = !options.compare || bad.length || !all.some(check => check.status === 'INFO' && /not applicable/i.test(message(check)));
  if (missing.length) (applies ? cell.lost : cell.named).push(`SUCCESS directly, not made here: ${missing.join(', ')}`);
  return cell;
}

const eras = new Map(options.across.map(text => text.split(':')));
const exception = (column, scenario) => CANNOT[eras.get(column)]?.[scenario] ?? CANNOT.anywhere[scenario];
// How the checks of a scenario end otherwise than is said of it; nothing if they end as is said.
function otherwise({ ends = {}, unmade = [] }, checks = [], reference = []) {
  const own = byId(checks);
  const found = [];
  for (const [id, check] of own) {
    const said = ends[id];
    if (!said && !['SUCCESS', 'INFO'].includes(check.status)) found.push(`${id}: ${check.status}: ${message(check)}`);
    if (said && (check.status !== said[0] || !said[1].test(message(check)))) {
      found.push(`${id}: expected ${said[0]} ${said[1]}, came ${check.status}: ${message(check)}`);
    }
  }
  for (const id of Object.keys(ends)) if (!own.has(id)) found.push(`${id}: expected ${ends[id][0]}, but it was not made`);
  for (const id of unmade) if (own.has(id)) found.push(`${id}: expected not to be made, came ${own.get(id).status}`);
  for (const [id, { status }] of byId(reference)) {
    if (status === 'SUCCESS' && !own.has(id) && !unmade.includes(id) && !ends[id]) found.push(`${id}: SUCCESS directly, not made here`);
  }
  return found;
}

const uncarried = new Map(options.uncarried.map(text => {
  const [column, scenario, ...reason] = text.split(':');
  return [`${scenario} ${column}`, reason.join(':')];
}));
// Lines that are the same for several endpoints, once.
function gathered(lines) {
  for (const line of new Set(lines.map(([line]) => line))) {
    const where = lines.filter(([other]) => other === line).map(([, column]) => column);
    console.log(`  ${line} (${where.length === columns.length ? 'everywhere' : where.join(', ')})`);
  }
}

let passed = 0;
let failed = 0;
for (const run of runs) {
  const version = basename(run);
  const known = scenarios(text(join(run, 'list.txt')));
  const found = Object.fromEntries(columns.map(column => [column, results(join(run, column))]));
  const width = Math.max(10, ...[...known.keys()].map(name => name.length));
  const wide = Object.fromEntries(columns.map(column => [column, Math.max(column.length, 13)]));
  const row = (first, cells) => console.log(`  ${first.padEnd(width)}  ${columns.map(c => `${cells(c)}`.padEnd(wide[c])).join('  ')}`.trimEnd());
  const cells = new Map();
  const lines = { failed: [], named: [], gained: [], uncarried: [], cannot: [] };

  console.log(`\nofficial suite ${version}, revision ${options.revision}: ${known.size} server scenarios, ${text(join(run, 'seconds')).trim()} s`);
  row('scenario (not scored)', column => column);
  for (const [scenario, group] of known) {
    const reference = found[direct].get(scenario);
    for (const column of columns) {
      const reason = short(text(join(run, column, 'reason')));
      const cell = judge(found[column].get(scenario), column === direct ? [] : reference);
      const isDirect = column === direct;
      // What is not there loses everything, and where nothing passes directly nothing is measured.
      cell.fails = reason ? true : isDirect ? !cell.passes && !options.compare : options.compare ? cell.lost.length > 0 : !cell.passes || cell.lost.length > 0;
      cell.word = reason ? '-' : `${!cell.passes ? 'FAILED' : cell.fails ? 'LOST' : 'ok'} ${cell.checks}`;
      const why_not = uncarried.get(`${scenario} ${column}`);
      if (why_not && !reason) {
        // Not made at all, and for no other reason.
        cell.fails = cell.passes || cell.bad.length > 0 || !found[column].get(scenario)?.length;
        cell.word = cell.fails ? `FAILED ${cell.checks}` : 'not carried';
        if (!cell.fails) {
          cell.uncarried = true;
          cells.set(`${scenario} ${column}`, cell);
          lines.uncarried.push(`${column}: ${scenario}: ${why_not}`);
          continue;
        }
      }
      const cannot = !options.compare && !reason && exception(column, scenario);
      if (cannot) {
        const differing = otherwise(cannot, found[column].get(scenario), column === direct ? [] : reference);
        cell.fails = differing.length > 0;
        cell.word = cell.fails ? `FAILED ${cell.checks}` : `cannot ${cell.checks}`;
        cell.lost = differing.map(what => `not as cannot.mjs says: ${what}`);
        cell.bad = cell.lost;
        if (!cell.fails) {
          cell.uncarried = true;
          cells.set(`${scenario} ${column}`, cell);
          lines.cannot.push([`${scenario}: ${cannot.because}`, column]);
          continue;
        }
      }
      cells.set(`${scenario} ${column}`, cell);
      cell.fails ? (failed += 1) : (passed += 1);
      const where = `official suite ${version}: ${column}: ${scenario}`;
      const why = isDirect ? cell.bad : cell.lost.length ? cell.lost : cell.bad;
      if (cell.fails && !reason) lines.failed.push(`FAILED ${where}: ${why.join(' | ')}`);
      if (!isDirect) {
        lines.named.push(...cell.named.map(what => [`${scenario}: ${what}`, column]));
        lines.gained.push(...cell.gained.map(what => `${where}: ${what}`));
      }
      if (isDirect && !cell.passes && options.compare) lines.gained.push(`${where}: fails directly: ${cell.bad.join(' | ')}`);
    }
    row(group === 'required' ? scenario : `(${scenario})`, column => cells.get(`${scenario} ${column}`).word);
  }
  const of = (column, wanted) => {
    const names = [...known].filter(([, group]) => wanted(group)).map(([name]) => cells.get(`${name} ${column}`));
    const carried = names.filter(cell => !cell.uncarried);
    return `${carried.filter(cell => cell.passes && !cell.fails).length}/${carried.length}`;
  };
  if ([...known.values()].some(group => group !== 'required')) row('required', column => of(column, group => group === 'required'));
  row('all', column => of(column, () => true));
  row('checks', column => [...known.keys()].reduce((sum, name) => sum + cells.get(`${name} ${column}`).checks, 0));
  if (options.compare && ![...known.keys()].some(name => cells.get(`${name} ${direct}`).passes)) {
    failed += 1;
    console.log(`FAILED official suite ${version}: ${direct}: not one scenario passes, so nothing can be compared`);
  }
  for (const column of columns) {
    const reason = short(text(join(run, column, 'reason')));
    if (reason) console.log(`FAILED official suite ${version}: ${column}: all ${known.size} scenarios: not run: ${reason}`);
  }
  for (const line of lines.failed) console.log(line);
  if (lines.gained.length) console.log(`\nthe server itself, ${version}:`);
  for (const line of lines.gained) console.log(`  ${line}`);
  if (lines.uncarried.length) console.log(`\nwhat the transport of the upstream cannot carry, ${version}:`);
  for (const line of lines.uncarried) console.log(`  ${line}`);
  if (lines.cannot.length) console.log(`\nwhat cannot be, and is not, ${version}:`);
  gathered(lines.cannot);
  if (gateways.length && lines.named.length) console.log(`\nnot asked by the suite through a gateway, in its own words, ${version}:`);
  gathered(lines.named);
}
console.log(`\nofficial suite: ${passed} passed, ${failed} failed`);
process.exit(failed || !passed ? 1 : 0);
