-- What clients of the memory API keep with a memory; both are JSON, an object and an array.
ALTER TABLE memories ADD COLUMN role TEXT;
ALTER TABLE memories ADD COLUMN metadata TEXT;
ALTER TABLE memories ADD COLUMN categories TEXT;
-- YYYY-MM-DD.
ALTER TABLE memories ADD COLUMN expires_on TEXT;
-- Null: never changed.
ALTER TABLE memories ADD COLUMN updated_at INTEGER;
-- Since when it holds no longer, and the id of what holds instead.
ALTER TABLE memories ADD COLUMN superseded_at INTEGER;
ALTER TABLE memories ADD COLUMN superseded_by TEXT;

CREATE INDEX memories_by_agent ON memories (agent_id, owner) WHERE agent_id IS NOT NULL;
CREATE INDEX memories_by_app ON memories (app_id, owner) WHERE app_id IS NOT NULL;
CREATE INDEX memories_by_run ON memories (run_id, owner) WHERE run_id IS NOT NULL;
CREATE INDEX memories_expiring ON memories (owner, expires_on) WHERE expires_on IS NOT NULL;
-- What somebody thought of it: good (1) or bad (0), and why.
ALTER TABLE memories ADD COLUMN liked INTEGER;
ALTER TABLE memories ADD COLUMN liked_why TEXT;
CREATE INDEX memories_demoted ON memories (owner, superseded_at)
    WHERE superseded_at IS NOT NULL OR liked = 0;

-- What became of memories since they were added: updated (1), superseded (2), deleted (3). Of a
-- deleted one the words are gone, here too.
CREATE TABLE changes (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    memory   TEXT NOT NULL,
    owner    INTEGER NOT NULL REFERENCES owners (id),
    event    INTEGER NOT NULL,
    old_text TEXT,
    new_text TEXT,
    said_at  INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    actor_id TEXT,
    role     TEXT
) STRICT;
CREATE INDEX changes_by_memory ON changes (memory);
CREATE INDEX changes_by_owner ON changes (owner);

-- What is to be made into memories, and what came of it: waits (0), succeeded (1), failed (2).
CREATE TABLE jobs (
    number          INTEGER PRIMARY KEY AUTOINCREMENT,
    id              TEXT NOT NULL UNIQUE,
    owner           INTEGER NOT NULL REFERENCES owners (id),
    source          TEXT,
    payload         TEXT NOT NULL,
    state           INTEGER NOT NULL DEFAULT 0,
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    started_at      INTEGER,
    completed_at    INTEGER,
    results         TEXT,
    error           TEXT,
    UNIQUE (owner, source)
) STRICT;
CREATE INDEX jobs_waiting ON jobs (next_attempt_at, number) WHERE state = 0;
CREATE INDEX jobs_completed ON jobs (completed_at) WHERE state > 0;

-- The turn of the same conversation that a memory followed, if both are kept word for word.
ALTER TABLE memories ADD COLUMN follows INTEGER;
CREATE INDEX memories_turns ON memories (owner, key, follows) WHERE follows IS NOT NULL;

-- The model that the vector of a memory is from; null: it has none yet.
ALTER TABLE memories ADD COLUMN embedded INTEGER;
CREATE INDEX memories_by_model ON memories (embedded);
CREATE TABLE embedding_models (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    dimensions INTEGER NOT NULL,
    UNIQUE (name, dimensions)
) STRICT;
-- What memories mean, clustered by owner: each number is `scale` times a signed byte.
CREATE TABLE vectors (
    owner   INTEGER NOT NULL,
    memory  INTEGER NOT NULL,
    model   INTEGER NOT NULL REFERENCES embedding_models (id),
    scale   REAL NOT NULL,
    numbers BLOB NOT NULL,
    PRIMARY KEY (owner, memory)
) STRICT, WITHOUT ROWID;
