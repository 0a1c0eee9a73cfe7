-- Runs and what they logged and used, sweeps, drafts that many writers share, and versions that expire.

ALTER TABLE versions ADD COLUMN expires_at BIGINT;      -- NULL: never
CREATE INDEX versions_by_expiry ON versions (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE sweeps (
    id BIGINT PRIMARY KEY,
    project_id BIGINT NOT NULL REFERENCES projects ON DELETE CASCADE,
    sweep TEXT COLLATE "C" NOT NULL,            -- its name in paths
    name TEXT COLLATE "C" NOT NULL,
    config TEXT COLLATE "C" NOT NULL,           -- a JSON object
    created_at BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    UNIQUE (project_id, sweep)
);

CREATE TABLE runs (
    id BIGINT PRIMARY KEY,         -- in the order of starts
    project_id BIGINT NOT NULL REFERENCES projects ON DELETE CASCADE,
    run TEXT COLLATE "C" NOT NULL,              -- its id in paths
    name TEXT COLLATE "C" NOT NULL,
    notes TEXT COLLATE "C" NOT NULL,
    tags TEXT COLLATE "C" NOT NULL,             -- a JSON array
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('running', 'finished', 'failed')),
    run_group TEXT COLLATE "C" NOT NULL,
    job_type TEXT COLLATE "C" NOT NULL,
    sweep_id BIGINT REFERENCES sweeps ON DELETE SET NULL,
    config TEXT COLLATE "C" NOT NULL,           -- a JSON object
    summary TEXT COLLATE "C" NOT NULL,          -- a JSON object
    created_at BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    heard_of_at BIGINT NOT NULL,   -- a running one that is silent for long has died
    ended_at BIGINT,
    exit_code BIGINT,
    UNIQUE (project_id, run)
);
CREATE INDEX runs_by_project ON runs (project_id, id);
CREATE INDEX runs_by_group ON runs (project_id, run_group, id);
CREATE INDEX runs_by_sweep ON runs (sweep_id, id);

CREATE TABLE run_history (
    run_id BIGINT NOT NULL REFERENCES runs ON DELETE CASCADE,
    step BIGINT NOT NULL,
    time BIGINT NOT NULL,
    logged TEXT COLLATE "C" NOT NULL,              -- a JSON object
    PRIMARY KEY (run_id, step)
);

-- The lineage graph. `id` keeps the order in which edges were noted.
CREATE TABLE run_edges (
    id BIGINT PRIMARY KEY,
    run_id BIGINT NOT NULL REFERENCES runs ON DELETE CASCADE,
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('logged', 'used')),
    version_id BIGINT NOT NULL REFERENCES versions ON DELETE CASCADE,
    UNIQUE (run_id, kind, version_id)
);
CREATE INDEX run_edges_by_version ON run_edges (version_id, kind);

-- Drafts that many writers contribute to. `draft_id` is the draft that holds the parts meanwhile.
CREATE TABLE shared_drafts (
    id BIGINT PRIMARY KEY,
    token TEXT COLLATE "C" NOT NULL UNIQUE,
    project_id BIGINT NOT NULL REFERENCES projects ON DELETE CASCADE,
    artifact TEXT COLLATE "C" NOT NULL,
    draft_group TEXT COLLATE "C" NOT NULL,
    draft_id BIGINT REFERENCES drafts ON DELETE SET NULL,
    version BIGINT,                -- once it was finished
    created BIGINT,                -- as in drafts
    UNIQUE (project_id, artifact, draft_group)
);
CREATE INDEX shared_drafts_by_draft ON shared_drafts (draft_id);

CREATE TABLE shared_parts (
    shared_id BIGINT NOT NULL REFERENCES shared_drafts ON DELETE CASCADE,
    root BYTEA NOT NULL,             -- digest of its tree
    run TEXT COLLATE "C" NOT NULL,              -- project/id, or empty
    description TEXT COLLATE "C",
    metadata TEXT COLLATE "C" NOT NULL,         -- a JSON object
    aliases TEXT COLLATE "C" NOT NULL,          -- a JSON array
    PRIMARY KEY (shared_id, root, run)
);
