-- What the first request of a key was made of, so that the error for another request under the
-- same key can name what differs; and a way from a key to all its flights, for purging it.

ALTER TABLE keys ADD COLUMN members BLOB -- hashes of its top-level members, see core/members.h; NULL: not known
    CHECK (length(members) <= 1024);

CREATE INDEX flights_by_key ON flights (key);

PRAGMA user_version = 2;
