-- Groups are made by one at a time.
SELECT pg_advisory_xact_lock(hashtextextended('viva rating batches', 0))
