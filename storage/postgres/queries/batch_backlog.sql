-- How many calls wait for a batch, and how many are in one.
SELECT count(*) FILTER (WHERE batch_id IS NULL), count(*) FILTER (WHERE batch_id IS NOT NULL)
FROM rating_requests WHERE reply IS NULL AND code IS NULL
