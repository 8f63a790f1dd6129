-- What the key was used for.
SELECT digest, interview_id FROM idempotency_keys WHERE user_id = %(user_id)s AND key = %(key)s
