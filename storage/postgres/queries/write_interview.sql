-- See `migrations/0010_later_logs.sql`.
SELECT * FROM write_interview(%(interview_id)s, %(created_at)s, %(live)s, %(digests)s, %(turns)s, %(answers)s)
