-- The calls of a batch of whose end nothing is known.
SELECT request_id, interview_id::text, user_id, question_id, sample, task, turn, sampled, instructions, input
FROM rating_requests
WHERE batch_id = %(batch_id)s AND reply IS NULL AND code IS NULL
ORDER BY interview_id, parked_at, question_id, sample
