-- The registry's database, format 1.
--
-- Conventions: ids are integers that `sequences` hands out, never reused; they mean nothing outside the database. Times are
-- nanoseconds since the epoch, sizes are bytes, digests are 32 bytes of SHA-256. Flags are 0 or 1. Texts
-- compare by their bytes (COLLATE "C"), as in SQLite and Python. Table for table and column for column what ../0001_initial.sql
-- has, where each is explained.
--
-- The invariant: an object is stored only after all its children, and deleted only after all its parents. The foreign keys of
-- `edges` hold the database to it.

-- The next free number, by name: one row a table, `change` for `changes.seq`.
CREATE TABLE sequences (
    name TEXT COLLATE "C" PRIMARY KEY,
    next BIGINT NOT NULL
);

-- `identity` is the marker file's, from which either can be mended.
CREATE TABLE settings (
    name TEXT COLLATE "C" PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);

CREATE TABLE projects (
    id BIGINT PRIMARY KEY,
    uid BYTEA NOT NULL UNIQUE,       -- 16 random bytes, in the header of each pack of the project
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

CREATE TABLE artifacts (
    id BIGINT PRIMARY KEY,
    project_id BIGINT NOT NULL REFERENCES projects,
    name TEXT COLLATE "C" NOT NULL,
    type TEXT COLLATE "C",                      -- NULL until it is set, or the first version is sealed
    description TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (project_id, name)
);

-- The number that the next version of an artifact gets. Rows outlive versions and artifacts, so that no number, and no
-- directory name, ever means two contents.
CREATE TABLE version_numbers (
    project_id BIGINT NOT NULL REFERENCES projects ON DELETE CASCADE,
    artifact TEXT COLLATE "C" NOT NULL,
    next BIGINT NOT NULL,
    PRIMARY KEY (project_id, artifact)
);

-- Packs. `state` says what the file is and who may touch it:
--   writing   the file may be there or not; becomes `stored`, or `deleting` once its draft (NULL: a rewriting) has ended
--   stored    every object in it is in `objects` at its place
--   dirty     it also holds bytes that nothing may keep; is rewritten, or deleted if no object is left
--   deleting  no object is in it; the file is removed, then the row
--   lost      what is left of damage: its objects are known but not stored, until somebody sends them again
CREATE TABLE packs (
    id BIGINT PRIMARY KEY,
    project_id BIGINT NOT NULL REFERENCES projects,
    pack_id BYTEA NOT NULL,          -- 16 random bytes, the file's name
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('writing', 'stored', 'dirty', 'deleting', 'lost')),
    draft_id BIGINT,               -- the draft it came with (no foreign key: drafts are forgotten earlier)
    created_at BIGINT NOT NULL,    -- when its objects entered the project; kept when it is rewritten
    UNIQUE (project_id, pack_id)
);
CREATE INDEX packs_by_draft ON packs (draft_id);
CREATE INDEX packs_to_do ON packs (state) WHERE state <> 'stored';  -- with few rows

CREATE TABLE objects (
    id BIGINT PRIMARY KEY,
    project_id BIGINT NOT NULL REFERENCES projects,
    kind BIGINT NOT NULL,          -- 1 chunk, 2 recipe, 3 tree page
    digest BYTEA NOT NULL,
    size BIGINT NOT NULL,          -- decoded
    codec BIGINT NOT NULL,
    pack BIGINT NOT NULL REFERENCES packs,
    start BIGINT NOT NULL,         -- offset of the stored bytes in the pack
    stored BIGINT NOT NULL         -- their length
);
CREATE UNIQUE INDEX objects_by_digest ON objects (digest, project_id, kind);
CREATE INDEX objects_by_pack ON objects (pack);

-- What a parent object says about the content below it, so that parents above, and seals, need not read it from a pack.
CREATE TABLE summaries (
    object BIGINT PRIMARY KEY REFERENCES objects,
    level BIGINT NOT NULL,         -- tree page: 0 entries, 1 and more an index; recipe: 0
    entries BIGINT NOT NULL,       -- tree page: directory entries in or below it; recipe: chunks
    size BIGINT NOT NULL,          -- tree page: all files below; recipe: the file
    files BIGINT NOT NULL,         -- tree page: files and symbolic links below; recipe: 1
    first_name TEXT COLLATE "C" NOT NULL,       -- tree page: first and last name in or below it; otherwise empty
    last_name TEXT COLLATE "C" NOT NULL,
    times BYTEA NOT NULL             -- tree page: wire/times.py; recipe: empty
);

CREATE TABLE edges (
    parent BIGINT NOT NULL REFERENCES objects,
    child BIGINT NOT NULL REFERENCES objects,
    PRIMARY KEY (parent, child)
);
CREATE INDEX edges_by_child ON edges (child);

CREATE TABLE versions (
    id BIGINT PRIMARY KEY,
    artifact_id BIGINT NOT NULL REFERENCES artifacts,
    number BIGINT NOT NULL,
    root BIGINT NOT NULL REFERENCES objects,
    description TEXT COLLATE "C" NOT NULL,
    metadata TEXT COLLATE "C" NOT NULL,         -- a JSON object
    created_at BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,           -- the change that made it
    UNIQUE (artifact_id, number)
);
CREATE INDEX versions_by_root ON versions (root);

-- What aliases mean now, and all that they ever meant: `version` is a number, NULL where the alias was removed.
CREATE TABLE aliases (
    artifact_id BIGINT NOT NULL REFERENCES artifacts ON DELETE CASCADE,
    alias TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (artifact_id, alias),
    FOREIGN KEY (artifact_id, version) REFERENCES versions (artifact_id, number)
);
CREATE INDEX aliases_by_version ON aliases (artifact_id, version);

CREATE TABLE alias_moves (
    artifact_id BIGINT NOT NULL REFERENCES artifacts ON DELETE CASCADE,
    alias TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    version BIGINT,
    PRIMARY KEY (artifact_id, alias, seq)
);

-- Open uploads. While a draft is `open` and not expired it holds the objects of the packs that came with it, and those it has
-- a lease on. `ended` ones (sealed, abandoned, or swept after they expired) hold nothing; what they held is collected, then
-- `collected` is set. A sealed draft is kept for a while, so that a repeated seal gets the same answer.
CREATE TABLE drafts (
    id BIGINT PRIMARY KEY,
    token TEXT COLLATE "C" NOT NULL UNIQUE,
    project_id BIGINT NOT NULL REFERENCES projects ON DELETE CASCADE,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('open', 'ended')),
    collected BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,    -- of an ended draft: when it may be forgotten
    artifact_id BIGINT REFERENCES artifacts ON DELETE SET NULL,   -- what it was sealed as
    version BIGINT,
    created BIGINT                 -- 0 if the content already was the newest version
);
CREATE INDEX drafts_by_state ON drafts (state, collected, expires_at);
CREATE INDEX drafts_by_project ON drafts (project_id);
CREATE INDEX drafts_by_artifact ON drafts (artifact_id);

CREATE TABLE leases (
    draft_id BIGINT NOT NULL REFERENCES drafts ON DELETE CASCADE,
    object BIGINT NOT NULL REFERENCES objects,
    PRIMARY KEY (draft_id, object)
);
CREATE INDEX leases_by_object ON leases (object);

-- Every visible change, in the order of commits. Names, not ids: what a change was about may be gone.
CREATE TABLE changes (
    seq BIGINT PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL,             -- project, artifact, version, alias
    project TEXT COLLATE "C" NOT NULL,
    artifact TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL              -- the version's or alias's directory name
);
