-- The calls that wait the longest, of one API and one model: those of the first of them.
WITH first AS (
  SELECT api, model FROM rating_requests
  WHERE batch_id IS NULL AND reply IS NULL AND code IS NULL AND not_before <= now()
  ORDER BY parked_at, request_id LIMIT 1
)
SELECT r.request_id, octet_length(r.instructions) + octet_length(r.input),
  extract(epoch FROM now() - r.parked_at)::float8, r.api, r.model
FROM rating_requests r JOIN first USING (api, model)
WHERE r.batch_id IS NULL AND r.reply IS NULL AND r.code IS NULL AND r.not_before <= now()
ORDER BY r.parked_at, r.request_id
LIMIT %(most)s
