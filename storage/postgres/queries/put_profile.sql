-- A merge patch (RFC 7396): what is not given stays, what is null goes. One statement, so that two at
-- once lose nothing of each other's.
INSERT INTO profiles AS p (user_id, name, language, preferences, version, updated_at)
VALUES (%(user_id)s, %(name)s, %(language)s, jsonb_strip_nulls(%(preferences)s::jsonb), 1, moment(%(at)s))
ON CONFLICT (user_id) DO UPDATE SET
  name = CASE WHEN %(renames)s THEN excluded.name ELSE p.name END,
  language = CASE WHEN %(translates)s THEN excluded.language ELSE p.language END,
  preferences = jsonb_strip_nulls(
    CASE WHEN %(resets)s THEN '{}' ELSE p.preferences END || %(preferences)s::jsonb),
  version = p.version + 1,
  updated_at = excluded.updated_at
RETURNING name, language, preferences::text, version, unix_ms(updated_at)
