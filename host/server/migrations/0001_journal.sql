-- The journal. One text for SQLite and PostgreSQL: BIGINT and TEXT only. Records are JSON, bytes are
-- base64, and a NUL character is stored as in src/store/text.rs (PostgreSQL's TEXT has none).

-- The last id given out. Its row is every writer's lock, so that ids grow in the order of commits.
CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('seq', 0);

-- What was accepted, for deduplication. Apart from messages, because it outlives them.
CREATE TABLE seen (
    id TEXT NOT NULL,
    source TEXT NOT NULL,
    seq BIGINT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (id, source)
);

CREATE TABLE messages (
    seq BIGINT NOT NULL PRIMARY KEY,
    source TEXT NOT NULL,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    subject TEXT NOT NULL, -- empty: none
    time TEXT,
    received_at_ms BIGINT NOT NULL,
    place TEXT,
    intake TEXT,
    event TEXT NOT NULL -- the whole message, CloudEvents JSON format
);
CREATE INDEX messages_by_subject ON messages (subject, seq);
CREATE INDEX messages_by_type ON messages (type, seq);
CREATE INDEX messages_by_source ON messages (source, seq);

CREATE TABLE deliveries (
    id BIGINT NOT NULL PRIMARY KEY,
    message_seq BIGINT NOT NULL REFERENCES messages (seq),
    system TEXT NOT NULL,
    key TEXT,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    next_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    error TEXT
);
CREATE INDEX deliveries_by_message ON deliveries (message_seq);
CREATE INDEX deliveries_by_system ON deliveries (system, message_seq);
-- Small, however many deliveries are done.
CREATE INDEX deliveries_ready ON deliveries (system, id) WHERE state = 'ready';
CREATE INDEX deliveries_parked ON deliveries (message_seq, system) WHERE state = 'parked';
CREATE INDEX deliveries_dead ON deliveries (message_seq, system) WHERE state = 'dead';

-- How many deliveries of a system are in a state: counted as they change, because counting millions is slow.
CREATE TABLE depths (
    system TEXT NOT NULL,
    state TEXT NOT NULL,
    total BIGINT NOT NULL,
    PRIMARY KEY (system, state)
);

CREATE TABLE calls (
    seq BIGINT NOT NULL PRIMARY KEY,
    owner_kind TEXT NOT NULL, -- delivery or intake
    owner TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    ordinal BIGINT NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX calls_by_owner ON calls (owner_kind, owner, seq);

CREATE TABLE state (
    system TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (system, key)
);

CREATE TABLE intakes (
    seq BIGINT NOT NULL PRIMARY KEY,
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
