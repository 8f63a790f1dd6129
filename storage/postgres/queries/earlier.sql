-- How many interviews of the same type the user had begun before this one, by their mode.
SELECT earlier.plan ->> 'mode', count(*)
FROM interviews i
JOIN interviews earlier
  ON earlier.user_id = i.user_id AND earlier.type = i.type AND earlier.started_at < i.started_at
WHERE i.created_at = %(created_at)s AND i.interview_id = %(interview_id)s
GROUP BY 1
