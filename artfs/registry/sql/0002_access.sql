-- Who may do what.

ALTER TABLE projects ADD COLUMN visibility TEXT NOT NULL DEFAULT 'private'
    CHECK (visibility IN ('private', 'public', 'open'));

CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    admin INTEGER NOT NULL,
    disabled INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- `secret` is SHA-256 of the token's secret part: 256 random bits need no slow hash.
CREATE TABLE tokens (
    id TEXT PRIMARY KEY,            -- public; the first part of the token
    user_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    name TEXT NOT NULL,
    secret BLOB NOT NULL,
    scope TEXT NOT NULL CHECK (scope IN ('read', 'write', 'admin')),  -- the highest; it includes the others
    created_at INTEGER NOT NULL,
    expires_at INTEGER,             -- NULL: never
    last_used_at INTEGER            -- NULL: not yet; kept to the hour
) WITHOUT ROWID, STRICT;
CREATE INDEX tokens_by_user ON tokens (user_id);

CREATE TABLE members (
    project_id INTEGER NOT NULL REFERENCES projects ON DELETE CASCADE,
    user_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    role TEXT NOT NULL CHECK (role IN ('reader', 'writer', 'admin')),
    PRIMARY KEY (project_id, user_id)
) WITHOUT ROWID, STRICT;
CREATE INDEX members_by_user ON members (user_id);
