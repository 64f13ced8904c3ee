// What the service says in situations that a test cannot bring about, or not at once.

const NOW = Date.UTC(2026, 4, 12, 14, 3, 22);
const GiB = 2 ** 30, MiB = 2 ** 20;
const hex = n => n.toString(16).padStart(8, '0').repeat(4);

const flight = (n, members = {}) => ({
  id: hex(0xa1b2c300 + n), route: '/v1/messages', client: 'billing', model: 'claude-opus-4-6', upstream: 'anthropic',
  key: 'ab12cd34', state: 'calling', started_unix_ms: NOW - 42_000, elapsed_ms: 42_000, deadline_ms: 590_000,
  attempt: 1, events: 120, output_bytes: 4711, output_tokens: null, first_event_ms: 412, queue_ms: 0, waiters: 1,
  accepted: false, orphan: false, ...members,
});

const request = (n, members = {}) => ({
  id: hex(0xd4e5f600 + n), ended_unix_ms: NOW - 1000 - 7000 * n, route: '/v1/messages', client: 'billing',
  model: 'claude-opus-4-6', upstream: 'anthropic', key: 'ab12cd34', status: 200, source: 'executed', error: null,
  attempts: 1, duration_ms: 48_250, queue_ms: 0, first_event_ms: 612, input_tokens: 310, output_tokens: 1840, ...members,
});

const unkeyed = { client: null, key: null, route: '/v1/chat/completions', model: 'gpt-5-mini', upstream: 'openai' };

export const idle = () => ({
  version: '1.0.0', now_unix_ms: NOW, started_unix_ms: NOW - 93_780_000, status: 'ready', flights: [], flights_omitted: 0,
  recent: [], queue: { waiting: 0, max: 1000 },
  counts: { requests: 0, executed: 0, joined: 0, adopted: 0, replayed: 0, duplicates_avoided: 0, output_tokens_saved: 0,
    retries: 0, refused: 0, disconnects: 0, maybe_billed_in_vain: 0, input_tokens: 0, output_tokens: 0 },
  flights_running: 0, flights_max: 2000, waiters: 0,
  memory: { bytes: 0, max: GiB, answers: 0, answers_unstored: 0 },
  store: { readable: true, writable: true, lost: false, bytes: 180 * MiB, bytes_max: null, free_bytes: 41 * GiB,
    free_bytes_min: 256 * MiB, queue: 0, commit_us_mean: 1840, commit_us_max: 22_310, failures: 0 },
  upstreams: [{ name: 'openai', provider: 'openai', flights: 0, pauses: 0 },
    { name: 'anthropic', provider: 'anthropic', flights: 0, pauses: 0 }],
});

export const busy = () => ({
  ...idle(),
  flights: [
    flight(1, { state: 'calling', elapsed_ms: 412_300, output_bytes: 61_440, events: 2204, waiters: 3 }),
    flight(2, { ...unkeyed, elapsed_ms: 95_000, output_bytes: 20_480, output_tokens: 5120, orphan: true, waiters: 0 }),
    flight(3, { state: 'pausing', attempt: 2, elapsed_ms: 12_400, output_bytes: 0, events: 0, first_event_ms: null }),
    flight(4, { state: 'calling', elapsed_ms: 2100, output_bytes: 0, events: 0, first_event_ms: null, accepted: true, waiters: 0 }),
    flight(5, { state: 'queued', attempt: 0, elapsed_ms: 1400, output_bytes: 0, events: 0, first_event_ms: null, queue_ms: 1400 }),
  ],
  recent: [
    request(1, { source: 'replayed', duration_ms: 4, attempts: 0, first_event_ms: null }),
    request(2),
    request(3, { source: 'joined' }),
    request(4, { ...unkeyed, source: 'adopted', duration_ms: 31_000 }),
    request(5, { status: 504, error: 'deadline_exceeded', source: null, duration_ms: 590_000, attempts: 3, output_tokens: null }),
    request(6, { ...unkeyed, status: 0, source: null, output_tokens: null, duration_ms: 61_000 }),
    request(7, { id: null, status: 401, error: 'unauthorized', source: null, attempts: 0, duration_ms: 1, model: null,
      client: null, key: null, first_event_ms: null, input_tokens: null, output_tokens: null }),
    request(8, { ...unkeyed, source: null }),
  ],
  counts: { requests: 48_211, executed: 31_900, joined: 3120, adopted: 411, replayed: 9876, duplicates_avoided: 13_407,
    output_tokens_saved: 24_180_332, retries: 210, refused: 97, disconnects: 1304, maybe_billed_in_vain: 31,
    input_tokens: 9_801_223, output_tokens: 57_336_004 },
  flights_running: 5, waiters: 5,
  memory: { bytes: 132 * MiB, max: GiB, answers: 12, answers_unstored: 0 },
  upstreams: [{ name: 'openai', provider: 'openai', flights: 1, pauses: 0 },
    { name: 'anthropic', provider: 'anthropic', flights: 4, pauses: 0 }],
});

export const unwell = () => {
  const state = busy();
  state.status = 'draining';
  state.memory.answers_unstored = 3;
  Object.assign(state.store, { writable: false, free_bytes: 100 * MiB, failures: 4, bytes: 950 * MiB, bytes_max: GiB });
  Object.assign(state.upstreams[1], { pauses: 2 });
  return state;
};

export const crowded = () => {
  const state = busy();
  state.flights = Array.from({ length: 200 }, (_, n) => flight(n, { elapsed_ms: 600 * n }));
  state.recent = Array.from({ length: 100 }, (_, n) => request(n));
  return Object.assign(state, { flights_omitted: 34, flights_running: 234 });
};

export const timeline = () => ({
  ...busy().flights[0], now_unix_ms: NOW, ended_unix_ms: null, status: null, error: null, paid_calls: 2, from: 'memory',
  timeline_omitted: 0,
  timeline: [
    [0, 'started', 'the request came for /v1/messages'], [3, 'looked_up', 'the store has nothing under its key'],
    [5, 'claimed', 'the key was claimed and the first call counted'], [6, 'call', 'call 1 to anthropic began'],
    [48_210, 'call_ended', 'call 1 to anthropic ended: truncated, status 200, 812 output bytes; it may have been billed',
      { attempt: 1, end: 'truncated', status: 200, request_id: 'req_011CSHoEeqs5C35K2UUqR7Fy', maybe_billed: true }],
    [48_210, 'pause', 'it waits 1.4 s before it calls again'], [49_630, 'counted', 'one more call was counted'],
    [49_640, 'call', 'call 2 to anthropic began'], [50_052, 'output', 'output began'],
    [91_000, 'waiter_in', 'a second request of the same key joined'],
  ].map(([at_ms, event, text, more]) => ({ at_ms, event, text, attempt: null, end: null, status: null, request_id: null,
    maybe_billed: null, ms: null, waiters: null, ...more })),
});
