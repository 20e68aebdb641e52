-- The newest time, in milliseconds, that retention went by: of a journal that is there already, its newest day.
INSERT INTO counters (name, value) SELECT 'clock', value / 68719476736 * 86400000 FROM counters WHERE name = 'seq';
