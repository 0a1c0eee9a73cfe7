-- Who may do what.

ALTER TABLE projects ADD COLUMN visibility TEXT COLLATE "C" NOT NULL DEFAULT 'private'
    CHECK (visibility IN ('private', 'public', 'open'));

CREATE TABLE users (
    id BIGINT PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    admin BIGINT NOT NULL,
    disabled BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

-- `secret` is SHA-256 of the token's secret part: 256 random bits need no slow hash.
CREATE TABLE tokens (
    id TEXT COLLATE "C" PRIMARY KEY,            -- public; the first part of the token
    user_id BIGINT NOT NULL REFERENCES users ON DELETE CASCADE,
    name TEXT COLLATE "C" NOT NULL,
    secret BYTEA NOT NULL,
    scope TEXT COLLATE "C" NOT NULL CHECK (scope IN ('read', 'write', 'admin')),  -- the highest; it includes the others
    created_at BIGINT NOT NULL,
    expires_at BIGINT,             -- NULL: never
    last_used_at BIGINT            -- NULL: not yet; kept to the hour
);
CREATE INDEX tokens_by_user ON tokens (user_id);

CREATE TABLE members (
    project_id BIGINT NOT NULL REFERENCES projects ON DELETE CASCADE,
    user_id BIGINT NOT NULL REFERENCES users ON DELETE CASCADE,
    role TEXT COLLATE "C" NOT NULL CHECK (role IN ('reader', 'writer', 'admin')),
    PRIMARY KEY (project_id, user_id)
);
CREATE INDEX members_by_user ON members (user_id);
