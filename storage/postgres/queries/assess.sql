-- All that an assessment reads of one interview, of one moment.
-- Each part names the month by itself, or else those of all months are planned for and locked.
SELECT i.plan::text, i.guide::text, i.session::text,
  coalesce((SELECT json_agg(t.record ORDER BY t.turn) FROM turn_records t
    WHERE t.user_id = i.user_id AND t.created_at = %(created_at)s
      AND t.interview_id = %(interview_id)s), '[]')::text,
  coalesce((SELECT json_agg(r.rating ORDER BY r.question_id) FROM ratings r
    WHERE r.user_id = i.user_id AND r.created_at = %(created_at)s
      AND r.interview_id = %(interview_id)s), '[]')::text,
  coalesce((SELECT json_object_agg(r.question_id, unix_ms(r.rated_at)) FROM ratings r
    WHERE r.user_id = i.user_id AND r.created_at = %(created_at)s
      AND r.interview_id = %(interview_id)s), '{}')::text,
  coalesce((SELECT sum(l.cost_micro_usd) FROM ledger l
    WHERE l.created_at = %(created_at)s AND l.interview_id = %(interview_id)s), 0)
FROM interviews i
WHERE i.created_at = %(created_at)s AND i.interview_id = %(interview_id)s
