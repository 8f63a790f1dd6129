SELECT name, language, preferences::text, version, unix_ms(updated_at)
FROM profiles
WHERE user_id = %(user_id)s
