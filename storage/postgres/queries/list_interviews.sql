-- A page of interviews, newest first, with the total, in one round trip: at least one row, whose
-- other columns are null where the page is empty. Filters that are null let everything through; the
-- planner sees that, because its plans are made for the values at hand. Documents stay out of lists.
-- Which interviews are on the page is told by an index, where one has all that is asked for: of those
-- that are passed over on the way to a later page nothing else is read.
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
  SELECT i.interview_id, i.user_id, (i.plan - 'job_description' - 'resume')::text, i.status, i.phase,
    unix_ms(i.created_at), unix_ms(i.started_at), unix_ms(i.ended_at)
  FROM (
    SELECT created_at, interview_id
    FROM interviews
    WHERE (%(user_id)s::text IS NULL OR user_id = %(user_id)s)
      AND (%(status)s::text IS NULL OR status = %(status)s)
      AND (%(type)s::text IS NULL OR type = %(type)s)
      AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s)
    ORDER BY created_at DESC, interview_id DESC
    LIMIT %(limit)s OFFSET %(offset)s
  ) AS chosen
  JOIN interviews i ON i.created_at = chosen.created_at AND i.interview_id = chosen.interview_id
  ORDER BY i.created_at DESC, i.interview_id DESC
) AS page ON true
