-- Times are milliseconds since the Unix epoch.

-- A message is pending (0), then answered (1), then settled (2): its background work is done and
-- its payload gone; the row stays for its key, so that a replay is known.
CREATE TABLE inbox (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    message_key  TEXT UNIQUE,
    conversation TEXT NOT NULL,
    payload      TEXT NOT NULL,
    state        INTEGER NOT NULL DEFAULT 0,
    received_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX inbox_pending ON inbox (conversation, id, received_at) WHERE state = 0;
CREATE INDEX inbox_answered ON inbox (id) WHERE state = 1;
CREATE INDEX inbox_settled ON inbox (received_at) WHERE state = 2;

-- A delivery waits (0) or is dead (1); one that arrived is deleted.
CREATE TABLE outbox (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    lane            TEXT NOT NULL,
    uuid            TEXT NOT NULL,
    batch           TEXT,
    payload         TEXT NOT NULL,
    merge_key       TEXT,
    occurrences     INTEGER NOT NULL DEFAULT 1,
    state           INTEGER NOT NULL DEFAULT 0,
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    last_error      TEXT
) STRICT;
-- Holds all that the sweep of the lanes reads: a long queue is passed over without its payloads.
CREATE INDEX outbox_waiting ON outbox (lane, id, next_attempt_at) WHERE state = 0;
CREATE INDEX outbox_mergeable ON outbox (lane, merge_key) WHERE state = 0 AND merge_key IS NOT NULL;
CREATE INDEX outbox_dead ON outbox (id) WHERE state = 1;

-- The sends of the last minute, for limits that outlive a restart.
CREATE TABLE sends (
    sender TEXT NOT NULL,
    at     INTEGER NOT NULL
) STRICT;
CREATE INDEX sends_by_sender ON sends (sender, at);

-- A thread is one person in one conversation.
CREATE TABLE turns (
    id     INTEGER PRIMARY KEY,
    thread TEXT NOT NULL,
    -- Whose thread it is, and the message it was said in: forgetting takes it along.
    user_id TEXT NOT NULL,
    source TEXT NOT NULL,
    role   INTEGER NOT NULL,
    text   TEXT NOT NULL,
    at     INTEGER NOT NULL
) STRICT;
CREATE INDEX turns_by_thread ON turns (thread, id);
CREATE INDEX turns_by_user ON turns (user_id, source);
CREATE INDEX turns_by_age ON turns (at);

CREATE TABLE questions (
    thread  TEXT PRIMARY KEY,
    what    TEXT NOT NULL,
    until   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE told (
    user_id TEXT NOT NULL,
    what    TEXT NOT NULL,
    PRIMARY KEY (user_id, what)
) STRICT, WITHOUT ROWID;

-- A person who has memories or reminders: the series of numbers, and the sums BM25 needs.
CREATE TABLE owners (
    id          INTEGER PRIMARY KEY,
    user_id     TEXT NOT NULL UNIQUE,
    last_number INTEGER NOT NULL DEFAULT 0,
    -- Nothing said before this is kept any more: the person had everything forgotten.
    forgot_all_at INTEGER NOT NULL DEFAULT 0,
    memories    INTEGER NOT NULL DEFAULT 0,
    terms       INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE memories (
    key        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    owner      INTEGER NOT NULL REFERENCES owners (id),
    number     INTEGER NOT NULL,
    agent_id   TEXT,
    app_id     TEXT,
    run_id     TEXT,
    actor_id   TEXT,
    text       TEXT NOT NULL,
    terms      INTEGER NOT NULL,
    source     TEXT,
    created_at INTEGER NOT NULL,
    UNIQUE (owner, number),
    UNIQUE (owner, source)
) STRICT;

-- Clustered by person and term: recall costs what the person has, not what the store has.
CREATE TABLE postings (
    owner     INTEGER NOT NULL,
    term      TEXT NOT NULL,
    memory    INTEGER NOT NULL REFERENCES memories (key) ON DELETE CASCADE,
    frequency INTEGER NOT NULL,
    length    INTEGER NOT NULL,
    PRIMARY KEY (owner, term, memory)
) STRICT, WITHOUT ROWID;
CREATE INDEX postings_by_memory ON postings (memory);

CREATE TABLE reminders (
    id              INTEGER PRIMARY KEY,
    owner           INTEGER NOT NULL REFERENCES owners (id),
    number          INTEGER NOT NULL,
    text            TEXT NOT NULL,
    interval_millis INTEGER NOT NULL CHECK (interval_millis > 0),
    next_at         INTEGER NOT NULL,
    target          TEXT NOT NULL,
    source          TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    UNIQUE (owner, number),
    UNIQUE (owner, source)
) STRICT;
CREATE INDEX reminders_by_time ON reminders (next_at);

-- What was forgotten at whose request, so that a request carried out again says the same.
CREATE TABLE forgotten (
    owner  INTEGER NOT NULL REFERENCES owners (id),
    source TEXT NOT NULL,
    count  INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (owner, source)
) STRICT, WITHOUT ROWID;

-- What forgotten memories and reminders (without a `memory`) were made from: carried out again, it
-- makes nothing.
CREATE TABLE forgotten_sources (
    owner  INTEGER NOT NULL REFERENCES owners (id),
    source TEXT NOT NULL,
    memory TEXT,
    number INTEGER NOT NULL,
    PRIMARY KEY (owner, source)
) STRICT, WITHOUT ROWID;

CREATE TABLE probe (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at INTEGER NOT NULL
) STRICT;
