-- See `migrations/0011_equal_versions.sql`.
SELECT * FROM write_interview(%(interview_id)s, %(created_at)s, %(live)s, %(digests)s, %(turns)s, %(answers)s)
