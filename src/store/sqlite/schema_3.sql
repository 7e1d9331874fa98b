-- A standing summary of who the memories are of, and how many memories a model made of messages, or
-- lost, since it was written.
ALTER TABLE owners ADD COLUMN profile TEXT;
ALTER TABLE owners ADD COLUMN profile_at INTEGER;
ALTER TABLE owners ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX owners_changed ON owners (changed) WHERE changed > 0;

-- Of what one owner said, the first is worked on first.
CREATE INDEX jobs_of_owner ON jobs (owner, number) WHERE state = 0;

-- Keys of the memory API that the daemon made; of each only the SHA-256 is known. `rate` is the
-- number of requests a second.
CREATE TABLE api_keys (
    name         TEXT PRIMARY KEY,
    hash         BLOB NOT NULL UNIQUE,
    admin        INTEGER NOT NULL,
    rate         INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER
) STRICT, WITHOUT ROWID;

-- The terms of the name of who speaks in a memory, if it says so; and whether it is indexed as this program does it.
ALTER TABLE memories ADD COLUMN speaker TEXT;
ALTER TABLE memories ADD COLUMN indexed INTEGER;
CREATE INDEX memories_speakers ON memories (owner, key, speaker) WHERE speaker IS NOT NULL;
CREATE INDEX memories_unindexed ON memories (key) WHERE indexed IS NULL;

-- What is kept of an owner's memories beside the file is read on from where it ends, as long as
-- memories were only added, and vectors only for later memories than those that had one: these count
-- everything else that was done to them.
ALTER TABLE owners ADD COLUMN rewritten INTEGER NOT NULL DEFAULT 0;
ALTER TABLE owners ADD COLUMN reembedded INTEGER NOT NULL DEFAULT 0;
CREATE TRIGGER memory_removed AFTER DELETE ON memories BEGIN
    UPDATE owners SET rewritten = rewritten + 1 WHERE id = old.owner;
END;
CREATE TRIGGER memory_rewritten AFTER UPDATE OF text, terms, follows, speaker ON memories BEGIN
    UPDATE owners SET rewritten = rewritten + 1 WHERE id = old.owner;
END;
CREATE TRIGGER vector_put BEFORE INSERT ON vectors
WHEN EXISTS (SELECT 1 FROM vectors WHERE owner = new.owner AND memory >= new.memory) BEGIN
    UPDATE owners SET reembedded = reembedded + 1 WHERE id = new.owner;
END;
CREATE TRIGGER vector_removed AFTER DELETE ON vectors BEGIN
    UPDATE owners SET reembedded = reembedded + 1 WHERE id = old.owner;
END;
