// Scenarios of the official suite that cannot pass, how they end instead, and why. verdicts.mjs says what that means:
// one that passes all the same, or ends in another way, is a failure.
//
// scenario -> { ends: { check: [status, message] }, unmade: [check], because }
//   ends    the checks that do not succeed, each with its status and what its message says
//   unmade  those that succeed directly, and are not even made here

// Whatever the endpoint is.
const anywhere = {
  'tasks-status-notifications': {
    ends: { 'tasks-status-notifications': ['SKIPPED', /harness needs a rewrite/] },
    because: 'the suite itself never asks: it skips its only check',
  },
};

// The suite speaks 2026-07-28, and the upstream is a server of the handshake era.
const handshake = {};

// The suite speaks 2025-11-25, and the upstream is a server of the stateless era.
const stateless = {
  'server-sse-polling': {
    unmade: ['server-sse-priming-event', 'server-sse-retry-field', 'server-sse-disconnect-resume'],
    because: 'a server of the stateless era closes no stream in the middle of a call: what it had to say would be lost',
  },
};

export const CANNOT = { anywhere, handshake, stateless };
