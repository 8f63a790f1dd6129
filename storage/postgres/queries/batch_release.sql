-- Calls that waited for so long without a batch are made live.
UPDATE rating_requests SET code = %(code)s
WHERE batch_id IS NULL AND reply IS NULL AND code IS NULL
  AND parked_at <= now() - make_interval(secs => %(older_s)s)
RETURNING interview_id::text
