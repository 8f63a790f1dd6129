-- All finished turns of an interview, in order.
SELECT coalesce(json_agg(t.record ORDER BY t.turn), '[]')::text
FROM interviews i
JOIN turn_records t ON t.user_id = i.user_id AND t.created_at = i.created_at
  AND t.interview_id = i.interview_id
WHERE i.created_at = %(created_at)s AND i.interview_id = %(interview_id)s
