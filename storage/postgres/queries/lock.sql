-- Held to the end of the transaction by whoever writes or erases the interview. It is a statement of
-- its own: the next one's snapshot is then younger than whatever the previous holder committed.
SELECT pg_advisory_xact_lock(hashtextextended(%(interview_id)s::text, 0))
