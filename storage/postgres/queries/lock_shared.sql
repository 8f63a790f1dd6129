-- Held by whoever adds ledger rows: beside other writers, never beside whoever erases.
SELECT pg_advisory_xact_lock_shared(hashtextextended(id::text, 0))
FROM unnest(%(interviews)s::uuid[]) AS id
