-- The registry's database, format 1.
--
-- Conventions: ids are integers that `sequences` hands out, never reused; they mean nothing outside the database. Times are
-- nanoseconds since the epoch, sizes are bytes, digests are 32 bytes of SHA-256. Flags are 0 or 1. Everything a statement of
-- ours does is plain SQL; only these definitions use SQLite's WITHOUT ROWID and STRICT.
--
-- The invariant: an object is stored only after all its children, and deleted only after all its parents. The foreign keys of
-- `edges` hold the database to it.

-- The next free number, by name: one row a table, `change` for `changes.seq`.
CREATE TABLE sequences (
    name TEXT PRIMARY KEY,
    next INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

-- `identity` is the marker file's, from which either can be mended.
CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE projects (
    id INTEGER PRIMARY KEY,
    uid BLOB NOT NULL UNIQUE,       -- 16 random bytes, in the header of each pack of the project
    name TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE artifacts (
    id INTEGER PRIMARY KEY,
    project_id INTEGER NOT NULL REFERENCES projects,
    name TEXT NOT NULL,
    type TEXT,                      -- NULL until it is set, or the first version is sealed
    description TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (project_id, name)
) STRICT;

-- The number that the next version of an artifact gets. Rows outlive versions and artifacts, so that no number, and no
-- directory name, ever means two contents.
CREATE TABLE version_numbers (
    project_id INTEGER NOT NULL REFERENCES projects ON DELETE CASCADE,
    artifact TEXT NOT NULL,
    next INTEGER NOT NULL,
    PRIMARY KEY (project_id, artifact)
) WITHOUT ROWID, STRICT;

-- Packs. `state` says what the file is and who may touch it:
--   writing   the file may be there or not; becomes `stored`, or `deleting` once its draft (NULL: a rewriting) has ended
--   stored    every object in it is in `objects` at its place
--   dirty     it also holds bytes that nothing may keep; is rewritten, or deleted if no object is left
--   deleting  no object is in it; the file is removed, then the row
--   lost      what is left of damage: its objects are known but not stored, until somebody sends them again
CREATE TABLE packs (
    id INTEGER PRIMARY KEY,
    project_id INTEGER NOT NULL REFERENCES projects,
    pack_id BLOB NOT NULL,          -- 16 random bytes, the file's name
    state TEXT NOT NULL CHECK (state IN ('writing', 'stored', 'dirty', 'deleting', 'lost')),
    draft_id INTEGER,               -- the draft it came with (no foreign key: drafts are forgotten earlier)
    created_at INTEGER NOT NULL,    -- when its objects entered the project; kept when it is rewritten
    UNIQUE (project_id, pack_id)
) STRICT;
CREATE INDEX packs_by_draft ON packs (draft_id);
CREATE INDEX packs_to_do ON packs (state) WHERE state <> 'stored';  -- with few rows

CREATE TABLE objects (
    id INTEGER PRIMARY KEY,
    project_id INTEGER NOT NULL REFERENCES projects,
    kind INTEGER NOT NULL,          -- 1 chunk, 2 recipe, 3 tree page
    digest BLOB NOT NULL,
    size INTEGER NOT NULL,          -- decoded
    codec INTEGER NOT NULL,
    pack INTEGER NOT NULL REFERENCES packs,
    start INTEGER NOT NULL,         -- offset of the stored bytes in the pack
    stored INTEGER NOT NULL         -- their length
) STRICT;
CREATE UNIQUE INDEX objects_by_digest ON objects (digest, project_id, kind);
CREATE INDEX objects_by_pack ON objects (pack);

-- What a parent object says about the content below it, so that parents above, and seals, need not read it from a pack.
CREATE TABLE summaries (
    object INTEGER PRIMARY KEY REFERENCES objects,
    level INTEGER NOT NULL,         -- tree page: 0 entries, 1 and more an index; recipe: 0
    entries INTEGER NOT NULL,       -- tree page: directory entries in or below it; recipe: chunks
    size INTEGER NOT NULL,          -- tree page: all files below; recipe: the file
    files INTEGER NOT NULL,         -- tree page: files and symbolic links below; recipe: 1
    first_name TEXT NOT NULL,       -- tree page: first and last name in or below it; otherwise empty
    last_name TEXT NOT NULL,
    times BLOB NOT NULL             -- tree page: wire/times.py; recipe: empty
) STRICT;

CREATE TABLE edges (
    parent INTEGER NOT NULL REFERENCES objects,
    child INTEGER NOT NULL REFERENCES objects,
    PRIMARY KEY (parent, child)
) WITHOUT ROWID, STRICT;
CREATE INDEX edges_by_child ON edges (child);

CREATE TABLE versions (
    id INTEGER PRIMARY KEY,
    artifact_id INTEGER NOT NULL REFERENCES artifacts,
    number INTEGER NOT NULL,
    root INTEGER NOT NULL REFERENCES objects,
    description TEXT NOT NULL,
    metadata TEXT NOT NULL,         -- a JSON object
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    seq INTEGER NOT NULL,           -- the change that made it
    UNIQUE (artifact_id, number)
) STRICT;
CREATE INDEX versions_by_root ON versions (root);

-- What aliases mean now, and all that they ever meant: `version` is a number, NULL where the alias was removed.
CREATE TABLE aliases (
    artifact_id INTEGER NOT NULL REFERENCES artifacts ON DELETE CASCADE,
    alias TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (artifact_id, alias),
    FOREIGN KEY (artifact_id, version) REFERENCES versions (artifact_id, number)
) WITHOUT ROWID, STRICT;
CREATE INDEX aliases_by_version ON aliases (artifact_id, version);

CREATE TABLE alias_moves (
    artifact_id INTEGER NOT NULL REFERENCES artifacts ON DELETE CASCADE,
    alias TEXT NOT NULL,
    seq INTEGER NOT NULL,
    version INTEGER,
    PRIMARY KEY (artifact_id, alias, seq)
) WITHOUT ROWID, STRICT;

-- Open uploads. While a draft is `open` and not expired it holds the objects of the packs that came with it, and those it has
-- a lease on. `ended` ones (sealed, abandoned, or swept after they expired) hold nothing; what they held is collected, then
-- `collected` is set. A sealed draft is kept for a while, so that a repeated seal gets the same answer.
CREATE TABLE drafts (
    id INTEGER PRIMARY KEY,
    token TEXT NOT NULL UNIQUE,
    project_id INTEGER NOT NULL REFERENCES projects ON DELETE CASCADE,
    state TEXT NOT NULL CHECK (state IN ('open', 'ended')),
    collected INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,    -- of an ended draft: when it may be forgotten
    artifact_id INTEGER REFERENCES artifacts ON DELETE SET NULL,   -- what it was sealed as
    version INTEGER,
    created INTEGER                 -- 0 if the content already was the newest version
) STRICT;
CREATE INDEX drafts_by_state ON drafts (state, collected, expires_at);
CREATE INDEX drafts_by_project ON drafts (project_id);
CREATE INDEX drafts_by_artifact ON drafts (artifact_id);

CREATE TABLE leases (
    draft_id INTEGER NOT NULL REFERENCES drafts ON DELETE CASCADE,
    object INTEGER NOT NULL REFERENCES objects,
    PRIMARY KEY (draft_id, object)
) WITHOUT ROWID, STRICT;
CREATE INDEX leases_by_object ON leases (object);

-- Every visible change, in the order of commits. Names, not ids: what a change was about may be gone.
CREATE TABLE changes (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,             -- project, artifact, version, alias; farewell: registry/changes.py
    project TEXT NOT NULL,
    artifact TEXT NOT NULL,
    name TEXT NOT NULL              -- the version's or alias's directory name
) STRICT;
