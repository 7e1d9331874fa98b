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
CREATE INDEX memories_superseded ON memories (owner) WHERE superseded_at IS NOT NULL;

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
