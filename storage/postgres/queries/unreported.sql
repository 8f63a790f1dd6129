-- Interviews that ended lately, but a while ago, and were told of no report: their job was lost, or never
-- came to be, or Redis lost that it was done. A report that is written is told then, and not written again.
-- Those that wait for a batch are ordered again when it is back. Months before the oldest are left alone.
SELECT i.interview_id
FROM interviews i
WHERE i.created_at >= %(oldest)s AND i.ended_at >= %(since)s
  AND i.status IN ('completed', 'abandoned', 'expired', 'terminated')
  AND i.ended_at < now() - interval '2 minutes'
  AND i.session -> 'report' IS NULL
  AND NOT EXISTS (SELECT FROM rating_requests p
    WHERE p.interview_id = i.interview_id AND p.reply IS NULL AND p.code IS NULL)
ORDER BY i.created_at
LIMIT %(limit)s
