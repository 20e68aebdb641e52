-- What is failing now: given up, or to be tried again. `store/find.rs` asks in the same words.
CREATE INDEX open_failing ON open (id) WHERE (state IN ('parked', 'dead') OR (state = 'ready' AND code IS NOT NULL));
