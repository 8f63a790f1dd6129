-- All finished turns of an interview, in order. No row where there is no such interview.
SELECT coalesce((SELECT json_agg(t.record ORDER BY t.turn) FROM turn_records t
  WHERE t.user_id = i.user_id AND t.created_at = %(created_at)s
    AND t.interview_id = %(interview_id)s), '[]')::text
FROM interviews i
WHERE i.created_at = %(created_at)s AND i.interview_id = %(interview_id)s
