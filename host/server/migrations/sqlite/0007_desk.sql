-- Why a delivery fails: the id of its cause, or 0. `causes` counts them as they change, because counting many is slow.
ALTER TABLE open ADD COLUMN cause BIGINT NOT NULL DEFAULT 0;
CREATE INDEX open_by_cause ON open (cause, id) WHERE cause <> 0;
CREATE INDEX open_cause_times ON open (cause, state, updated_at_ms) WHERE cause <> 0;
-- What does not go on by itself, by message: `store/find.rs` asks in the same words.
CREATE INDEX open_held_newest ON open (state, message_seq) WHERE state IN ('parked', 'waiting', 'dead');
CREATE INDEX open_held_of ON open (system, state, message_seq) WHERE state IN ('parked', 'waiting', 'dead');
CREATE INDEX open_held_typed ON open (system, type, state, message_seq) WHERE state IN ('parked', 'waiting', 'dead');
CREATE TABLE causes (
    cause BIGINT NOT NULL,
    state TEXT NOT NULL,
    system TEXT NOT NULL,
    type TEXT NOT NULL,
    code TEXT NOT NULL,
    by_adapter BIGINT NOT NULL,
    place TEXT,
    answer TEXT,
    total BIGINT NOT NULL,
    PRIMARY KEY (cause, state)
);
-- What was failing before this table was there is counted at the next start, where this is 1.
INSERT INTO counters (name, value) SELECT 'uncounted', CASE WHEN EXISTS (SELECT 1 FROM open WHERE code IS NOT NULL) THEN 1 ELSE 0 END;

-- The ids that were given to the messages of a minute: a search by time reads no others.
CREATE TABLE minutes (
    minute BIGINT NOT NULL PRIMARY KEY,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL
);
INSERT INTO minutes (minute, first, last) SELECT received_at_ms / 60000, min(seq), max(seq) FROM messages GROUP BY 1;

-- How much came in, and what became of it, by the hour: see core's statistics.rs. What was written before is counted here.
CREATE TABLE statistics (
    hour BIGINT NOT NULL,
    system TEXT NOT NULL, -- empty: of messages that came in
    type TEXT NOT NULL,
    tally TEXT NOT NULL,
    total BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (hour, system, type, tally)
);
INSERT INTO statistics (hour, system, type, tally, total, bytes)
    SELECT received_at_ms / 3600000, '', type, 'received', count(*), CAST(coalesce(sum(octet_length(data)), 0) AS BIGINT)
    FROM messages GROUP BY 1, 3;
INSERT INTO statistics (hour, system, type, tally, total, bytes)
    SELECT updated_at_ms / 3600000, system, type, state, count(*), 0 FROM deliveries GROUP BY 1, 2, 3, 4;
INSERT INTO statistics (hour, system, type, tally, total, bytes)
    SELECT updated_at_ms / 3600000, system, type, state, count(*), 0 FROM open WHERE state IN ('parked', 'dead') GROUP BY 1, 2, 3, 4;

-- Systems that persons hold up.
CREATE TABLE pauses (
    system TEXT NOT NULL PRIMARY KEY,
    by_whom TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    comment TEXT
);

-- What persons decide, in a chain: see core's audit.rs. `record` is what is hashed; the columns beside it are for searches.
CREATE TABLE audit (
    seq BIGINT NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    by_whom TEXT NOT NULL,
    deed TEXT NOT NULL,
    system TEXT NOT NULL,
    delivery BIGINT NOT NULL, -- 0: about none
    record TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE INDEX audit_by_delivery ON audit (delivery, seq) WHERE delivery <> 0;
CREATE INDEX audit_by_system ON audit (system, seq);
CREATE INDEX audit_by_whom ON audit (by_whom, seq);
