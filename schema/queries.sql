-- The named queries: `-- name: x` starts the one that C code calls QUERY_X.  Parameters have
-- the names of the columns they meet.  Scripts of several statements are said to be such.

-- name: application_id
PRAGMA application_id;

-- name: user_version
PRAGMA user_version;

-- name: table_count
SELECT count(*) FROM sqlite_schema;

-- name: begin
BEGIN IMMEDIATE;

-- name: commit
COMMIT;

-- name: rollback
ROLLBACK;

-- name: shape_file
-- A script, without effect on a file that has tables: its layout.
PRAGMA page_size = 8192;
PRAGMA auto_vacuum = INCREMENTAL;

-- name: set_up_writer
-- A script.  FULL: what COMMIT reported survives a power cut.  Checkpoints are made by the
-- writer itself, as the automatic one hides its failures; the log file shrinks back to
-- journal_size_limit after a burst.
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA secure_delete = FAST;
PRAGMA wal_autocheckpoint = 0;
PRAGMA journal_size_limit = 67108864;
PRAGMA cache_size = -16384;
PRAGMA temp_store = MEMORY;
PRAGMA trusted_schema = OFF;
PRAGMA cell_size_check = ON;

-- name: journal_mode
-- What set_up_writer got: 'wal', unless the file system has no shared memory.
SELECT journal_mode = 'wal' FROM pragma_journal_mode;

-- name: set_up_reader
-- A script.
PRAGMA cache_size = -16384;
PRAGMA temp_store = MEMORY;
PRAGMA trusted_schema = OFF;
PRAGMA cell_size_check = ON;

-- name: page_size
PRAGMA page_size;

-- name: freelist_count
PRAGMA freelist_count;

-- name: set_max_page_count
-- A pragma takes no parameters: the number of pages is appended to this text.
PRAGMA max_page_count =

-- name: vacuum_some
PRAGMA incremental_vacuum(64);

-- name: make_salt
INSERT INTO meta (name, value) VALUES ('salt', :salt) ON CONFLICT (name) DO NOTHING;

-- name: salt
SELECT value FROM meta WHERE name = 'salt';

-- name: interrupt_flights
-- Whatever runs, but for accepted requests that still have their key.
UPDATE flights
SET state = 'interrupted', ended_ms = :now_ms, status = 503, error_code = 'interrupted',
    forget_ms = :forget_ms
WHERE forget_ms IS NULL
  AND NOT EXISTS (SELECT 1 FROM requests AS r JOIN keys AS k ON k.flight = r.flight
                  WHERE r.flight = flights.flight AND k.key = flights.key
                    AND k.forget_ms IS NULL);

-- name: interrupt_keys
-- After interrupt_flights: the keys of all flights but those that still run.
UPDATE keys SET state = 'released', ended_ms = :now_ms, forget_ms = :forget_ms
WHERE forget_ms IS NULL
  AND NOT EXISTS (SELECT 1 FROM requests AS r JOIN flights AS f ON f.flight = r.flight
                  WHERE r.flight = keys.flight AND f.key = keys.key AND f.forget_ms IS NULL);

-- name: forget_requests
-- What no running flight accounts for cannot come from our own hand; it is not kept.
DELETE FROM requests
WHERE flight NOT IN (SELECT flight FROM flights WHERE forget_ms IS NULL);

-- name: accepted_count
SELECT count(*) FROM requests;

-- name: key_get
-- A key as it is now, with the answer of its last flight.  A body is only found where it may
-- be replayed.  LEFT JOIN, so that missing rows are noticed as damage, not as an absent key.
SELECT iif(k.state = 'failed' AND k.answer_until_ms <= :now_ms, 'released', k.state),
       k.fingerprint, k.flight, k.paid_calls, k.created_ms, k.ended_ms,
       k.members, f.status, f.content_type, f.request_id, f.error_code, f.body, b.sha256, b.bytes
FROM keys AS k
LEFT JOIN flights AS f ON f.flight = k.flight
LEFT JOIN bodies AS b ON b.body = f.body AND k.answer_until_ms > :now_ms
WHERE k.key = :key AND (k.forget_ms IS NULL OR k.forget_ms > :now_ms);

-- name: key_claim
-- One statement decides and claims.  No row comes back: somebody else has the key, or it is
-- used up.  A life that is over (first line of WHERE) starts again with this claim's paid calls.
INSERT INTO keys (key, fingerprint, members, state, flight, paid_calls, created_ms)
VALUES (:key, :fingerprint, :members, 'running', :flight, :paid_calls, :now_ms)
ON CONFLICT (key) DO UPDATE
SET fingerprint = excluded.fingerprint, members = excluded.members,
    state = 'running', flight = excluded.flight,
    paid_calls = iif(forget_ms <= :now_ms, 0, paid_calls) + excluded.paid_calls,
    created_ms = iif(forget_ms <= :now_ms, :now_ms, created_ms),
    ended_ms = NULL, answer_until_ms = NULL, forget_ms = NULL
WHERE forget_ms <= :now_ms
   OR (state = 'released' OR (state = 'failed' AND answer_until_ms <= :now_ms))
      AND fingerprint = excluded.fingerprint
      AND paid_calls + excluded.paid_calls <= :paid_calls_max
RETURNING paid_calls, created_ms;

-- name: flight_start
INSERT INTO flights (flight, key, scope, route, state, started_ms)
VALUES (:flight, :key, :scope, :route, 'running', :now_ms);

-- name: flight_runs
SELECT count(*) FROM flights WHERE flight = :flight AND state = 'running';

-- name: token_add
-- Nothing changes when it opens another flight's result.
INSERT INTO tokens (token, flight) VALUES (:token, :flight)
ON CONFLICT (token) DO UPDATE SET flight = excluded.flight WHERE flight = excluded.flight;

-- name: request_add
-- A flight is accepted once; what came first is what runs.
INSERT INTO requests (flight, deadline_ms, client, query, headers, sha256, body)
VALUES (:flight, :deadline_ms, :client, :query, :headers, :sha256, :body)
ON CONFLICT (flight) DO NOTHING;

-- name: flight_get
-- By its id, or by a result token.
SELECT f.flight, f.state, f.key, f.scope, f.route, f.started_ms, f.ended_ms,
       f.status, f.content_type, f.request_id, f.error_code, f.body, b.sha256, b.bytes
FROM flights AS f
LEFT JOIN bodies AS b ON b.body = f.body
WHERE f.flight = coalesce(:flight, (SELECT flight FROM tokens WHERE token = :token))
  AND (f.forget_ms IS NULL OR f.forget_ms > :now_ms);

-- name: accepted_next
SELECT f.flight, f.key, f.scope, k.fingerprint, f.route, k.paid_calls, f.started_ms,
       r.deadline_ms, r.client, r.query, r.headers, r.sha256, r.body
FROM requests AS r
JOIN flights AS f ON f.flight = r.flight AND f.forget_ms IS NULL
JOIN keys AS k ON k.key = f.key AND k.flight = f.flight AND k.forget_ms IS NULL
WHERE r.flight > :after
ORDER BY r.flight LIMIT 1;

-- name: key_count
UPDATE keys SET paid_calls = paid_calls + 1
WHERE key = :key AND flight = :flight AND state = 'running' AND paid_calls < :paid_calls_max
RETURNING paid_calls;

-- name: key_paid_calls
SELECT paid_calls FROM keys WHERE key = :key AND flight = :flight AND state = 'running';

-- name: key_complete
UPDATE keys
SET state = :state, ended_ms = :now_ms, answer_until_ms = :answer_until_ms,
    forget_ms = :forget_ms
WHERE key = :key AND flight = :flight AND state = 'running';

-- name: key_release
UPDATE keys
SET state = 'released', ended_ms = :now_ms, forget_ms = :forget_ms,
    paid_calls = max(paid_calls - :give_back, 0)
WHERE key = :key AND flight = :flight AND state = 'running';

-- name: body_add
INSERT INTO bodies (sha256, bytes) VALUES (:sha256, :bytes) RETURNING body;

-- name: flight_end
UPDATE flights
SET state = :state, ended_ms = :now_ms, status = :status, content_type = :content_type,
    request_id = :request_id, error_code = :error_code, body = :body, forget_ms = :forget_ms
WHERE flight = :flight AND state = 'running';

-- name: key_reap
DELETE FROM keys
WHERE key = (SELECT key FROM keys WHERE forget_ms <= :now_ms ORDER BY forget_ms LIMIT 1);

-- name: flight_reap
DELETE FROM flights
WHERE flight = (SELECT flight FROM flights WHERE forget_ms <= :now_ms ORDER BY forget_ms LIMIT 1);

-- name: task_scan
-- Some keys in the order of their digests, with the last flight of each, whatever their age.
-- What an operator asked for is picked out of them by the caller, so that one step stays short.
SELECT k.key, iif(k.state = 'failed' AND k.answer_until_ms <= :now_ms, 'released', k.state),
       k.forget_ms <= :now_ms, k.paid_calls, k.created_ms, k.ended_ms, k.flight,
       f.scope, f.route, f.status, length(b.bytes)
FROM (SELECT * FROM keys WHERE key > :after AND key >= :first AND key <= :last
      ORDER BY key LIMIT :rows) AS k
LEFT JOIN flights AS f ON f.flight = k.flight
LEFT JOIN bodies AS b ON b.body = f.body
ORDER BY k.key;

-- name: task_release_key
-- A failure is forgotten, a flight loses its key; what was paid for is remembered.
UPDATE keys
SET state = 'released', ended_ms = coalesce(ended_ms, :now_ms), answer_until_ms = NULL,
    forget_ms = max(coalesce(forget_ms, :forget_ms), :forget_ms)
WHERE key = :key AND state IN ('running', 'failed');

-- name: task_release_flight
UPDATE flights
SET state = 'interrupted', ended_ms = :now_ms, status = 503, error_code = 'interrupted',
    forget_ms = :forget_ms
WHERE flight = :flight AND state = 'running';

-- name: task_purge_key
DELETE FROM keys WHERE key = :key AND state <> 'running';

-- name: task_purge_flights
DELETE FROM flights WHERE key = :key AND state <> 'running';

-- name: task_purge_keyless
-- Flights that were kept longer than their keys, whose digests lie in this range.
DELETE FROM flights
WHERE key > :after AND key >= :first AND key <= :last AND state <> 'running'
  AND NOT EXISTS (SELECT 1 FROM keys WHERE keys.key = flights.key)
  AND scope = coalesce(:scope, scope) AND started_ms < :created_before_ms;

-- name: erase
-- Deleted content is overwritten, wherever it stood.
PRAGMA secure_delete = ON;

-- name: erase_cheaply
PRAGMA secure_delete = FAST;

-- name: backup
VACUUM INTO :path;

-- name: has_requests
SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'requests';

-- name: backup_forgets_requests
-- A script, for a copy that nobody else has seen and that is synced afterwards.
PRAGMA journal_mode = MEMORY;
PRAGMA synchronous = OFF;
PRAGMA secure_delete = ON;
DELETE FROM requests;
