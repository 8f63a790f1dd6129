-- Held to the end of the transaction by whoever creates an interview for the user, so that a limit is
-- kept by requests that come at once. The next statement sees what the previous holder committed.
SELECT pg_advisory_xact_lock(hashtextextended('creations of ' || %(user_id)s::text, 0))
