-- What became of the parked calls of one question.
SELECT request_id, sample, api, model, canary, prompt_sha256, reply, code
FROM rating_requests
WHERE interview_id = %(interview_id)s AND question_id = %(question_id)s
ORDER BY sample
