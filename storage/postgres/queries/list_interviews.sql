-- A page of interviews, newest first, with the total, in one round trip: at least one row, whose
-- other columns are null where the page is empty. Filters that are null let everything through; the
-- planner sees that, because its plans are made for the values at hand. Documents stay out of lists.
SELECT counted.total, page.*
FROM (
  SELECT count(*) AS total
  FROM interviews
  WHERE (%(user_id)s::text IS NULL OR user_id = %(user_id)s)
    AND (%(status)s::text IS NULL OR status = %(status)s)
    AND (%(type)s::text IS NULL OR type = %(type)s)
    AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s)
) AS counted
LEFT JOIN LATERAL (
  SELECT interview_id, user_id, (plan - 'job_description' - 'resume')::text, status, phase,
    unix_ms(created_at), unix_ms(started_at), unix_ms(ended_at)
  FROM interviews
  WHERE (%(user_id)s::text IS NULL OR user_id = %(user_id)s)
    AND (%(status)s::text IS NULL OR status = %(status)s)
    AND (%(type)s::text IS NULL OR type = %(type)s)
    AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s)
  ORDER BY created_at DESC, interview_id DESC
  LIMIT %(limit)s OFFSET %(offset)s
) AS page ON true
