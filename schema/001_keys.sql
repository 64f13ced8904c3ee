-- Keys, flights and the bodies of their answers.
--
-- All times are milliseconds since 1970 by the wall clock.  An answer belongs to its flight; a
-- key points to the flight that claimed it last.  forget_ms ends the life of a row: from then
-- on it counts as absent, and the reaper deletes it.  It is NULL exactly while the row runs, so
-- that one index finds both what may go and what a crash has left running.

PRAGMA application_id = 1970172788; -- "unst", so that file(1) and we know our files

CREATE TABLE meta (
    name  TEXT PRIMARY KEY NOT NULL, -- 'salt'
    value BLOB NOT NULL              -- salt: 32 random bytes made with the store, for scopes
) STRICT, WITHOUT ROWID;

CREATE TABLE bodies (
    body   INTEGER PRIMARY KEY, -- what flights.body points to
    sha256 BLOB NOT NULL,       -- of bytes, checked at every replay: pages have no checksums
    bytes  BLOB NOT NULL        -- the answer, byte for byte; last, as it may be large
) STRICT;

CREATE TABLE flights (
    flight       BLOB PRIMARY KEY NOT NULL, -- the flight id, 16 bytes
    key          BLOB NOT NULL,    -- the key it claimed, see keys.key
    scope        BLOB NOT NULL,    -- who asked, a salted SHA-256
    route        TEXT NOT NULL,    -- the route's path, for operators and result URLs
    state        TEXT NOT NULL     -- how it ended; 'interrupted': by the end of the process
                 CHECK (state IN ('running', 'done', 'failed', 'released', 'interrupted')),
    started_ms   INTEGER NOT NULL, -- when its claim was made
    ended_ms     INTEGER,          -- NULL while running
    status       INTEGER,          -- the HTTP status of its answer; NULL: none was made
    content_type TEXT,             -- of the body
    request_id   TEXT,             -- the provider's name for the call; NULL: it gave none
    error_code   TEXT,             -- our code word if the answer is an error of ours, else NULL
    body         INTEGER,          -- see bodies.body; NULL: no body was kept
    forget_ms    INTEGER,          -- end of this row's life; NULL exactly while running
    CHECK (length(flight) = 16 AND length(key) = 32 AND length(scope) = 32),
    CHECK ((state = 'running') = (forget_ms IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX flights_by_forget ON flights (forget_ms);

CREATE TABLE keys (
    key         BLOB PRIMARY KEY NOT NULL, -- SHA-256 over scope and Idempotency-Key, never the key itself
    fingerprint BLOB NOT NULL,    -- SHA-256 of the canonical request that holds the key
    state       TEXT NOT NULL     -- a 'failed' key counts as 'released' from answer_until_ms on
                CHECK (state IN ('running', 'done', 'failed', 'released')),
    flight      BLOB NOT NULL,    -- the flight that claimed it last, see flights.flight
    paid_calls  INTEGER NOT NULL, -- upstream calls counted in this life of the key
    created_ms  INTEGER NOT NULL, -- when this life began
    ended_ms    INTEGER,          -- when the last flight ended; NULL while running
    answer_until_ms INTEGER,      -- 'done', 'failed': the answer is replayed before this time
    forget_ms   INTEGER,          -- end of this life; NULL exactly while running
    CHECK (length(key) = 32 AND length(fingerprint) = 32 AND length(flight) = 16),
    CHECK (paid_calls >= 0),
    CHECK ((state = 'running') = (forget_ms IS NULL)),
    CHECK ((state IN ('done', 'failed')) = (answer_until_ms IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX keys_by_forget ON keys (forget_ms);

-- A body never outlives its flight.
CREATE TRIGGER flights_deleted AFTER DELETE ON flights WHEN OLD.body IS NOT NULL
BEGIN
    DELETE FROM bodies WHERE body = OLD.body;
END;

-- A key that is claimed after its end starts a new life, and the answer of the old one goes.
CREATE TRIGGER keys_reborn AFTER UPDATE OF created_ms ON keys WHEN OLD.created_ms <> NEW.created_ms
BEGIN
    DELETE FROM flights WHERE flight = OLD.flight;
END;

PRAGMA user_version = 1;
