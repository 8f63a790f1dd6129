-- The newest report of each of a user's interviews, oldest first, without their evidence's bulk.
SELECT newest.report::text
FROM interviews i
JOIN LATERAL (
  SELECT r.report FROM reports r
  WHERE r.user_id = i.user_id AND r.created_at = i.created_at AND r.interview_id = i.interview_id
  ORDER BY r.written_at DESC, r.report_id DESC LIMIT 1
) AS newest ON true
WHERE i.user_id = %(user_id)s
ORDER BY i.created_at DESC
LIMIT %(limit)s
