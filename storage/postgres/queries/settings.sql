-- The settings of a connection, for this transaction only: a bouncer gives the connection to others.
SELECT
  set_config('statement_timeout', %(statement_timeout)s, true),
  set_config('lock_timeout', %(lock_timeout)s, true),
  set_config('idle_in_transaction_session_timeout', %(idle_in_transaction_session_timeout)s, true),
  set_config('plan_cache_mode', %(plan_cache_mode)s, true),
  set_config('timezone', %(timezone)s, true)
