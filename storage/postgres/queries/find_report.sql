-- The newest report of an interview, with what reviewers decided. Each part names the month by
-- itself, or else those of all months are planned for and locked.
SELECT
  (SELECT r.report::text FROM reports r
    WHERE r.user_id = i.user_id AND r.created_at = %(created_at)s
      AND r.interview_id = %(interview_id)s
    ORDER BY r.written_at DESC, r.report_id DESC LIMIT 1),
  coalesce((SELECT json_agg(json_build_object('decision_id', d.decision_id, 'reviewer', d.reviewer,
      'decision', d.decision, 'reason', d.reason, 'at', unix_ms(d.decided_at)) ORDER BY d.decided_at)
    FROM decisions d
    WHERE d.user_id = i.user_id AND d.created_at = %(created_at)s
      AND d.interview_id = %(interview_id)s), '[]')::text
FROM interviews i
WHERE i.created_at = %(created_at)s AND i.interview_id = %(interview_id)s
