-- Runs and what they logged and used, sweeps, drafts that many writers share, and versions that expire.

ALTER TABLE versions ADD COLUMN expires_at INTEGER;      -- NULL: never
CREATE INDEX versions_by_expiry ON versions (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE sweeps (
    id INTEGER PRIMARY KEY,
    project_id INTEGER NOT NULL REFERENCES projects ON DELETE CASCADE,
    sweep TEXT NOT NULL,            -- its name in paths
    name TEXT NOT NULL,
    config TEXT NOT NULL,           -- a JSON object
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    UNIQUE (project_id, sweep)
) STRICT;

CREATE TABLE runs (
    id INTEGER PRIMARY KEY,         -- in the order of starts
    project_id INTEGER NOT NULL REFERENCES projects ON DELETE CASCADE,
    run TEXT NOT NULL,              -- its id in paths
    name TEXT NOT NULL,
    notes TEXT NOT NULL,
    tags TEXT NOT NULL,             -- a JSON array
    state TEXT NOT NULL CHECK (state IN ('running', 'finished', 'failed')),
    run_group TEXT NOT NULL,
    job_type TEXT NOT NULL,
    sweep_id INTEGER REFERENCES sweeps ON DELETE SET NULL,
    config TEXT NOT NULL,           -- a JSON object
    summary TEXT NOT NULL,          -- a JSON object
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    heard_of_at INTEGER NOT NULL,   -- a running one that is silent for long has died
    ended_at INTEGER,
    exit_code INTEGER,
    UNIQUE (project_id, run)
) STRICT;
CREATE INDEX runs_by_project ON runs (project_id, id);
CREATE INDEX runs_by_group ON runs (project_id, run_group, id);
CREATE INDEX runs_by_sweep ON runs (sweep_id, id);

CREATE TABLE run_history (
    run_id INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    step INTEGER NOT NULL,
    time INTEGER NOT NULL,
    logged TEXT NOT NULL,           -- a JSON object
    PRIMARY KEY (run_id, step)
) WITHOUT ROWID, STRICT;

-- The lineage graph. `id` keeps the order in which edges were noted.
CREATE TABLE run_edges (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('logged', 'used')),
    version_id INTEGER NOT NULL REFERENCES versions ON DELETE CASCADE,
    UNIQUE (run_id, kind, version_id)
) STRICT;
CREATE INDEX run_edges_by_version ON run_edges (version_id, kind);

-- Drafts that many writers contribute to. `draft_id` is the draft that holds the parts meanwhile.
CREATE TABLE shared_drafts (
    id INTEGER PRIMARY KEY,
    token TEXT NOT NULL UNIQUE,
    project_id INTEGER NOT NULL REFERENCES projects ON DELETE CASCADE,
    artifact TEXT NOT NULL,
    draft_group TEXT NOT NULL,
    draft_id INTEGER REFERENCES drafts ON DELETE SET NULL,
    version INTEGER,                -- once it was finished
    created INTEGER,                -- as in drafts
    UNIQUE (project_id, artifact, draft_group)
) STRICT;
CREATE INDEX shared_drafts_by_draft ON shared_drafts (draft_id);

CREATE TABLE shared_parts (
    shared_id INTEGER NOT NULL REFERENCES shared_drafts ON DELETE CASCADE,
    root BLOB NOT NULL,             -- digest of its tree
    run TEXT NOT NULL,              -- project/id, or empty
    description TEXT,
    metadata TEXT NOT NULL,         -- a JSON object
    aliases TEXT NOT NULL,          -- a JSON array
    PRIMARY KEY (shared_id, root, run)
) WITHOUT ROWID, STRICT;
