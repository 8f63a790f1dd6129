-- Ledger rows by their own id: a row that was queued twice is kept once. Erased interviews get none.
INSERT INTO ledger (user_id, created_at, interview_id, id, turn, attempt, call, at, model, api,
  outcome, code, response_id, input_tokens, cached_tokens, output_tokens, exact, cost_micro_usd,
  priced, first_token_ms, total_ms, task)
SELECT user_id, created_at, interview_id, id, turn, attempt, call, moment(at), model, api, outcome,
  code, response_id, input_tokens, cached_tokens, output_tokens, exact, cost_micro_usd, priced,
  first_token_ms, total_ms, coalesce(task, 'speak')
FROM json_to_recordset(%(rows)s::json) AS r (user_id text, created_at timestamptz, interview_id uuid,
  id text, turn integer, attempt integer, call integer, at bigint, model text, api text, outcome text,
  code text, response_id text, input_tokens bigint, cached_tokens bigint, output_tokens bigint,
  exact boolean, cost_micro_usd bigint, priced boolean, first_token_ms bigint, total_ms bigint,
  task text)
WHERE NOT EXISTS (SELECT FROM tombstones WHERE tombstones.interview_id = r.interview_id)
ON CONFLICT (user_id, created_at, interview_id, id) DO UPDATE SET
  at = excluded.at, model = excluded.model, api = excluded.api, outcome = excluded.outcome,
  code = excluded.code, response_id = excluded.response_id, input_tokens = excluded.input_tokens,
  cached_tokens = excluded.cached_tokens, output_tokens = excluded.output_tokens,
  exact = excluded.exact, cost_micro_usd = excluded.cost_micro_usd, priced = excluded.priced,
  first_token_ms = excluded.first_token_ms, total_ms = excluded.total_ms
