-- Flights that are known beyond their waiters: by result tokens, and by requests that were
-- accepted to be answered later and are driven again after a crash.

CREATE TABLE tokens (
    token  BLOB PRIMARY KEY NOT NULL, -- SHA-256 of a result token, never the token itself
    flight BLOB NOT NULL,             -- whose result it opens, see flights.flight
    CHECK (length(token) = 32 AND length(flight) = 16)
) STRICT, WITHOUT ROWID;

CREATE INDEX tokens_by_flight ON tokens (flight);

CREATE TABLE requests (
    flight      BLOB PRIMARY KEY NOT NULL, -- the accepted flight, see flights.flight; only while it runs
    deadline_ms INTEGER NOT NULL, -- no upstream call starts after it
    client      TEXT,             -- the configured name of who asked; NULL: none
    query       BLOB,             -- of the upstream URL; NULL: none
    headers     BLOB NOT NULL,    -- passed on, as io/store_headers.h writes them; never a credential
    sha256      BLOB NOT NULL,    -- of query, headers and body, checked before it is driven again
    body        BLOB NOT NULL,    -- the client's, byte for byte; last, as it may be large
    CHECK (length(flight) = 16 AND length(sha256) = 32)
) STRICT;

-- What was asked is at rest only while its flight runs, whoever ends it.
CREATE TRIGGER flights_ended AFTER UPDATE OF state ON flights WHEN NEW.state <> 'running'
BEGIN
    DELETE FROM requests WHERE flight = NEW.flight;
END;

-- Nothing of a flight outlives it.
CREATE TRIGGER flights_unpublished AFTER DELETE ON flights
BEGIN
    DELETE FROM requests WHERE flight = OLD.flight;
    DELETE FROM tokens WHERE flight = OLD.flight;
END;

-- A flight's outcome is kept for its result URLs, whatever becomes of its key; the row ends by
-- its own forget_ms.
DROP TRIGGER keys_reborn;

PRAGMA user_version = 4;
