-- Interviews that ended a while ago and have no report: their job was lost, or never came to be. Those
-- that wait for a batch are ordered again when it is back.
SELECT i.interview_id
FROM interviews i
WHERE i.created_at >= %(since)s
  AND i.status IN ('completed', 'abandoned', 'expired', 'terminated')
  AND i.ended_at < now() - interval '2 minutes'
  AND i.session -> 'report' IS NULL
  AND NOT EXISTS (SELECT FROM reports r
    WHERE r.user_id = i.user_id AND r.created_at = i.created_at AND r.interview_id = i.interview_id)
  AND NOT EXISTS (SELECT FROM rating_requests p
    WHERE p.interview_id = i.interview_id AND p.reply IS NULL AND p.code IS NULL)
ORDER BY i.created_at
LIMIT %(limit)s
