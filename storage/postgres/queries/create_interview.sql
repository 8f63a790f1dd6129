-- See `migrations/0009_writing.sql`.
SELECT * FROM create_interview(%(interview_id)s, %(created_at)s, %(given)s, %(key)s, %(digest)s, %(since)s,
  %(most)s, %(plans)s, %(asked)s, %(guide)s)
