-- Whether ratings of an interview wait for a batch, or for what comes of one.
SELECT 1 FROM rating_requests
WHERE interview_id = %(interview_id)s AND reply IS NULL AND code IS NULL
LIMIT 1
