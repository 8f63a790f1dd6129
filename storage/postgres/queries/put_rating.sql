-- The rating of one question, once: a repeated job finds it there. With `again` it is replaced. Erased
-- interviews get none.
INSERT INTO ratings (user_id, created_at, interview_id, question_id, score, rating, rated_at)
SELECT i.user_id, i.created_at, i.interview_id, %(question_id)s, %(score)s, %(rating)s,
  moment(%(at)s)
FROM interviews i
WHERE i.created_at = %(created_at)s AND i.interview_id = %(interview_id)s
ON CONFLICT (user_id, created_at, interview_id, question_id) DO UPDATE SET
  score = excluded.score, rating = excluded.rating, rated_at = excluded.rated_at
WHERE %(again)s
