-- The interviews of a batch that wait for nothing any more.
SELECT DISTINCT r.interview_id::text
FROM rating_requests r
WHERE r.batch_id = %(batch_id)s
  AND NOT EXISTS (SELECT FROM rating_requests p
    WHERE p.interview_id = r.interview_id AND p.reply IS NULL AND p.code IS NULL)
