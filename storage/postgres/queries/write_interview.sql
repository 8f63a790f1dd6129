-- See `migrations/0009_writing.sql`.
SELECT * FROM write_interview(%(interview_id)s, %(created_at)s, %(live)s, %(digests)s, %(turns)s, %(answers)s)
