-- What PostgreSQL holds of an interview, as far as a write must know it. Always one row.
SELECT
  EXISTS (SELECT FROM tombstones WHERE interview_id = %(interview_id)s),
  i.user_id, i.version, i.head_seq, i.head_check,
  coalesce(
    (SELECT json_object_agg(t.turn, t.sha256) FROM turns t
      WHERE t.user_id = i.user_id AND t.created_at = %(created_at)s
        AND t.interview_id = %(interview_id)s),
    '{}'
  )::text
FROM (VALUES (1)) AS one (n)
LEFT JOIN interviews i ON i.created_at = %(created_at)s AND i.interview_id = %(interview_id)s
