-- The key or publisher that stated a message (`key:crm`, `publisher:crm`); absent of what systems state, and of what was
-- written before. Of an intake: who asked, or whose message was refused.
ALTER TABLE messages ADD COLUMN stated_by TEXT COLLATE "C";
ALTER TABLE intakes ADD COLUMN stated_by TEXT COLLATE "C";
