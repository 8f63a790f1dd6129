-- Takes the key, or waits for whoever is taking it and then takes nothing.
INSERT INTO idempotency_keys (user_id, key, digest, interview_id)
VALUES (%(user_id)s, %(key)s, %(digest)s, %(interview_id)s)
ON CONFLICT (user_id, key) DO NOTHING
RETURNING 1
