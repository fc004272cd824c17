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
const NO_TASKS = 'the handshake era has no such tasks: the extension is not offered, and the work is done inside the call';
const NONE_CREATED = ['FAILURE', /^Not testable: no task was created/];
const NOT_CREATED = ['FAILURE', /^(slow_compute|confirm_delete) did not create a task$/];
const handshake = {
  'server-stateless': {
    ends: {
      'sep-2575-server-rejects-undeclared-capability': ['FAILURE', /^Server executed 'test_missing_capability'/],
      'sep-2575-missing-capability-http-400': ['FAILURE', /^Not testable: server did not return MissingRequiredClientCapabilityError/],
    },
    because: 'what a client can do is said once for a session there, by the gateway and for all of its clients; no code says that it is not enough',
  },
  'input-required-result-basic-elicitation': {
    ends: { 'sep-2322-elicitation-incomplete': ['FAILURE', /^inputRequests missing expected key "user_name"$/] },
    unmade: ['sep-2322-elicitation-complete'],
    because: 'questions of the handshake era have ids and no keys: the gateway makes the keys, and the suite insists on one of its own',
  },
  'input-required-result-ignore-extra-params': {
    ends: { 'sep-2322-ignore-unexpected-params': ['WARNING', /^Server did not return complete result/] },
    because: 'the suite answers before it is asked, under a key of its own; the upstream has not asked yet, and asks under another',
  },
  'tasks-lifecycle': {
    ends: {
      'sep-2663-result-type-task-on-create': ['FAILURE', /^expected resultType:"task"; got "complete"/],
      'sep-2663-tasks-get-status-working': NONE_CREATED,
      'sep-2663-tasks-get-status-completed': NONE_CREATED,
      'sep-2663-tool-error-uses-completed-status': ['FAILURE', /^failing_job MUST create a task$/],
      'sep-2663-tasks-get-status-failed': ['FAILURE', /^The job broke, as it always does$/],
      'sep-2663-cancel-ack-empty-result': NOT_CREATED,
      'tasks-cancel-terminal-idempotent-ack': NOT_CREATED,
    },
    because: NO_TASKS,
  },
  'tasks-capability-negotiation': {
    ends: {
      'tasks-extension-advertised': ['FAILURE', /^capabilities\.extensions\["io\.modelcontextprotocol\/tasks"\] MUST be present$/],
      'sep-2663-tasks-methods-non-declaring': ['FAILURE', /^tasks\/get MUST return -32021; got -32601; tasks\/update MUST return -32021; got -32601; tasks\/cancel MUST return -32021; got -32601$/],
      'tasks-per-request-meta-opt-in': ['FAILURE', /^expected resultType:"task" via per-request opt-in; got "complete"/],
    },
    because: NO_TASKS,
  },
  'tasks-wire-fields': {
    ends: {
      'tasks-wire-field-renames': ['FAILURE', /^CreateTaskResult MUST carry ttlMs/],
      'tasks-no-early-ttl-expiry': NONE_CREATED,
      'tasks-no-related-task-meta-on-inlined-result': NONE_CREATED,
    },
    because: NO_TASKS,
  },
  'tasks-request-state-removal': {
    ends: { 'tasks-request-state-removal-setup': ['FAILURE', /^no taskId in tools\/call response$/] },
    unmade: ['tasks-create-result-no-request-state', 'tasks-get-detailed-no-request-state'],
    because: NO_TASKS,
  },
  'tasks-mrtr-input': {
    ends: {
      'sep-2663-tasks-get-status-input-required': NOT_CREATED,
      'tasks-mrtr-tasks-update-resumes': NOT_CREATED,
      'tasks-mrtr-partial-fulfillment': ['FAILURE', /^multi_input did not create a task$/],
    },
    because: NO_TASKS,
  },
  'tasks-request-headers': {
    ends: {
      'sep-2663-routing-headers-accepted-on-tasks-get': NOT_CREATED,
      'sep-2663-server-rejects-mismatched-mcp-name-on-tasks-get': ['FAILURE', /^routing-task fixture from Check 2 unavailable/],
    },
    because: NO_TASKS,
  },
  'tasks-dispatch-and-envelope': {
    ends: {
      'tasks-server-directed-creation-no-hint': ['FAILURE', /^expected CreateTaskResult; got resultType="complete"/],
      'sep-2663-durable-create-strong-consistency': NOT_CREATED,
      'sep-2663-tasks-get-invalid-task-id-32602': ['FAILURE', /^expected -32602; got -32601/],
    },
    because: NO_TASKS,
  },
  'tasks-required-task-error': {
    ends: { 'sep-2663-server-returns-missing-capability-when-required': ['FAILURE', /^tools\/call for failing_job returned a successful response/] },
    unmade: ['sep-2663-server-returns-missing-capability-data-shape'],
    because: NO_TASKS,
  },
  'tasks-mrtr-composition': {
    ends: { 'sep-2663-mrtr-synchronous-before-task-creation': ['FAILURE', /^round 2 MUST be CreateTaskResult \(resultType:"task"\); got "complete"/] },
    because: NO_TASKS,
  },
};

// The suite speaks 2025-11-25, and the upstream is a server of the stateless era.
const stateless = {
  'server-sse-polling': {
    unmade: ['server-sse-priming-event', 'server-sse-retry-field', 'server-sse-disconnect-resume'],
    because: 'a server of the stateless era closes no stream in the middle of a call: what it had to say would be lost',
  },
};

export const CANNOT = { anywhere, handshake, stateless };
