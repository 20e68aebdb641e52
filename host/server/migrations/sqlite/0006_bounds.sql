-- What is written where nothing else is, to know whether the store can be written.
INSERT INTO counters (name, value) VALUES ('asked', 0);
-- A refusal that came again and again is one row.
ALTER TABLE intakes ADD COLUMN times BIGINT NOT NULL DEFAULT 1;
ALTER TABLE intakes ADD COLUMN last_at_ms BIGINT NOT NULL DEFAULT 0; -- 0: it came once
