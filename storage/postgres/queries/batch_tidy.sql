-- Calls that have served: the report is written, or nobody came for them within a month. Then batches.
WITH served AS (
  DELETE FROM rating_requests r
  WHERE (r.reply IS NOT NULL OR r.code IS NOT NULL)
    AND (r.parked_at < now() - interval '30 days' OR EXISTS (SELECT FROM reports
      WHERE reports.user_id = r.user_id AND reports.created_at = r.created_at
        AND reports.interview_id = r.interview_id))
)
DELETE FROM rating_batches b
WHERE b.ended_at < now() - interval '7 days'
  AND NOT EXISTS (SELECT FROM rating_requests r WHERE r.batch_id = b.batch_id)
