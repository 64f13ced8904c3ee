-- What the first request of a key was made of, so that the error for another request under the
-- same key can name what differs.

ALTER TABLE keys ADD COLUMN members BLOB -- hashes of its top-level members, see core/members.h; NULL: not known
    CHECK (length(members) <= 1024);

PRAGMA user_version = 2;
