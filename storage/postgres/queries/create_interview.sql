-- See `migrations/0012_asked_lately.sql`.
SELECT * FROM create_interview(%(interview_id)s, %(created_at)s, %(given)s, %(key)s, %(digest)s, %(since)s,
  %(most)s, %(plans)s, %(asked)s, %(guide)s)
