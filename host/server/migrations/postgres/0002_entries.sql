-- Entries of an input that a person decides about: left out, or known with other content.
ALTER TABLE intakes ADD COLUMN left_out BIGINT NOT NULL DEFAULT 0;
ALTER TABLE intakes ADD COLUMN part_of TEXT COLLATE "C"; -- id of the input
ALTER TABLE intakes ADD COLUMN event TEXT COLLATE "C"; -- what was stated, as a CloudEvent
ALTER TABLE intakes ADD COLUMN by_whom TEXT COLLATE "C";
CREATE INDEX intakes_by_input ON intakes (part_of) WHERE part_of IS NOT NULL;
