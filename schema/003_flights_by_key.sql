-- A way from a key to all its flights: purging a key takes them along.

CREATE INDEX flights_by_key ON flights (key);

PRAGMA user_version = 3;
