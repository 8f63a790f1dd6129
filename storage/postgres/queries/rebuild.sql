-- All that an interview is rebuilt from, in one statement and therefore of one moment. One row always.
SELECT
  EXISTS (SELECT FROM tombstones WHERE interview_id = %(interview_id)s),
  i.plan::text, i.guide::text, i.session::text, i.version, i.head_seq, i.head_check,
  coalesce(
    (SELECT json_agg(t.record ORDER BY t.turn) FROM turn_records t
      WHERE t.user_id = i.user_id AND t.created_at = %(created_at)s
        AND t.interview_id = %(interview_id)s),
    '[]'
  )::text,
  coalesce(
    (SELECT json_agg(json_build_array(c.command_id, c.answer)) FROM commands c
      WHERE c.user_id = i.user_id AND c.created_at = %(created_at)s
        AND c.interview_id = %(interview_id)s),
    '[]'
  )::text
FROM (VALUES (1)) AS one (n)
LEFT JOIN interviews i ON i.created_at = %(created_at)s AND i.interview_id = %(interview_id)s
