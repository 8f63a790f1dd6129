-- Calls of batches that nobody can ask for any more are made live.
WITH ended AS (
  UPDATE rating_batches SET ended_at = now(), ended = %(code)s WHERE ended_at IS NULL RETURNING batch_id
)
UPDATE rating_requests r SET code = %(code)s
FROM ended
WHERE r.batch_id = ended.batch_id AND r.reply IS NULL AND r.code IS NULL
RETURNING r.interview_id::text
