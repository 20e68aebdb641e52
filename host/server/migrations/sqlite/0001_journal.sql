-- The journal in SQLite. The same tables as in ../postgres, where they are cut into days.
-- BIGINT and TEXT only. Records are JSON, bytes are base64, and a NUL character is stored as in src/store/text.rs.

-- seq: the last id given out. Its row is every writer's lock, so that ids grow in the order of commits; an id's day is
-- id / 2^36. operations: grows with what persons do. pruned: dedup records before this id are pruned.
CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
) WITHOUT ROWID;
INSERT INTO counters (name, value) VALUES ('seq', 0), ('operations', 0), ('pruned', 0);

-- What was accepted, for deduplication. Apart from messages, because it outlives them. The id comes first as it is: ids
-- mostly grow, and so the index does at its end. The others are 64 bits each of SHA-256 over source and id, over the
-- content, and over the type.
CREATE TABLE seen (
    id TEXT NOT NULL,
    pair BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    content BIGINT NOT NULL,
    type BIGINT NOT NULL,
    PRIMARY KEY (id, pair)
) WITHOUT ROWID;

-- Types by their hash.
CREATE TABLE types (
    hash BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL
);

CREATE TABLE messages (
    seq INTEGER NOT NULL PRIMARY KEY,
    until BIGINT NOT NULL, -- its deliveries have ids from seq to here
    type TEXT NOT NULL,
    source TEXT NOT NULL,
    subject TEXT NOT NULL, -- empty: none
    id TEXT NOT NULL,
    received_at_ms BIGINT NOT NULL,
    sweep BIGINT NOT NULL, -- 1: the data go when its deliveries are finished
    place TEXT,
    intake TEXT,
    attributes TEXT NOT NULL, -- the others, as a JSON object
    data TEXT -- absent: not kept
);
-- By -seq: whoever asks for that order gets these indexes and no other. By seq, a planner that thinks there are many
-- would walk all messages from the newest on, and look in vain at each.
CREATE INDEX messages_by_subject ON messages (subject, (-seq));
-- Types are lower-case words. Only a search by type alone asks for it so, and no other starts at this index.
CREATE INDEX messages_by_type ON messages (lower(type), (-seq));
-- By type as well: whoever looks for a source and a type that hardly come together finds that at once.
CREATE INDEX messages_by_source ON messages (source, type, (-seq));
CREATE INDEX messages_to_sweep ON messages (seq) WHERE sweep = 1;

-- Deliveries that are not finished: few, looked at and changed all the time.
CREATE TABLE open (
    id INTEGER NOT NULL PRIMARY KEY,
    message_seq BIGINT NOT NULL,
    type TEXT NOT NULL,
    system TEXT NOT NULL,
    key TEXT,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    next_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    operated BIGINT NOT NULL, -- 0, or 1 more than the attempts made when a person last decided
    version BIGINT NOT NULL, -- grows with every write of an attempt or a decision
    shard BIGINT NOT NULL,
    error TEXT,
    code TEXT,
    edited TEXT,
    by_whom TEXT
);
CREATE INDEX open_ready ON open (system, id) WHERE state = 'ready';
CREATE INDEX open_by_key ON open (system, key, id) WHERE state = 'ready' AND key IS NOT NULL;
CREATE INDEX open_held ON open (system, key, id) WHERE state IN ('parked', 'waiting');
CREATE INDEX open_failed ON open (id) WHERE state IN ('parked', 'dead');

-- Deliveries that are done or skipped: many, and never changed.
CREATE TABLE deliveries (
    id INTEGER NOT NULL PRIMARY KEY,
    message_seq BIGINT NOT NULL,
    type TEXT NOT NULL,
    system TEXT NOT NULL,
    key TEXT,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    next_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    error TEXT,
    code TEXT,
    edited TEXT,
    by_whom TEXT
);
CREATE INDEX deliveries_by_system ON deliveries (system, type, message_seq);
CREATE INDEX deliveries_skipped ON deliveries (message_seq) WHERE state = 'skipped';

-- How many deliveries of a system are in a state: counted as they change, because counting millions is slow.
CREATE TABLE depths (
    system TEXT NOT NULL,
    state TEXT NOT NULL,
    total BIGINT NOT NULL,
    PRIMARY KEY (system, state)
) WITHOUT ROWID;

-- The owner is a delivery or an intake, by its id.
CREATE TABLE calls (
    owner BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    ordinal BIGINT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (owner, attempt, ordinal)
) WITHOUT ROWID;

CREATE TABLE state (
    system TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (system, key)
);

CREATE TABLE intakes (
    seq INTEGER NOT NULL PRIMARY KEY,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    system TEXT NOT NULL,
    name TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    messages BIGINT NOT NULL,
    duplicates BIGINT NOT NULL,
    differing BIGINT NOT NULL,
    error TEXT
);
CREATE INDEX intakes_by_id ON intakes (id);
CREATE INDEX intakes_by_system ON intakes (system, seq);
CREATE INDEX intakes_by_outcome ON intakes (outcome, seq);

-- Hubs alive, and which of them makes the deliveries of a shard. An expired row is no row.
CREATE TABLE hubs (
    hub TEXT NOT NULL PRIMARY KEY,
    until_ms BIGINT NOT NULL
);
CREATE TABLE leases (
    shard INTEGER NOT NULL PRIMARY KEY,
    hub TEXT NOT NULL,
    until_ms BIGINT NOT NULL
);
WITH RECURSIVE n(shard) AS (SELECT 0 UNION ALL SELECT shard + 1 FROM n WHERE shard < 31)
INSERT INTO leases (shard, hub, until_ms) SELECT shard, '', 0 FROM n;
