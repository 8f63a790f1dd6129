-- What the interviewer's words cost: one row for every provider call and every use of the bank.

CREATE TABLE ledger (
  user_id text NOT NULL,
  created_at timestamptz NOT NULL,
  interview_id uuid NOT NULL,
  id text NOT NULL,
  turn integer NOT NULL,
  attempt integer NOT NULL,
  call integer NOT NULL,
  at timestamptz NOT NULL,
  model text NOT NULL,
  api text NOT NULL,
  outcome text NOT NULL,
  code text NOT NULL,
  response_id text NOT NULL,
  input_tokens bigint NOT NULL,
  cached_tokens bigint NOT NULL,
  output_tokens bigint NOT NULL,
  exact boolean NOT NULL,
  cost_micro_usd bigint NOT NULL,
  priced boolean NOT NULL,
  first_token_ms bigint,
  total_ms bigint NOT NULL,
  PRIMARY KEY (user_id, created_at, interview_id, id),
  CONSTRAINT ledger_counts CHECK (input_tokens >= 0 AND cached_tokens >= 0 AND output_tokens >= 0
    AND cost_micro_usd >= 0)
) PARTITION BY RANGE (created_at);

CREATE INDEX ledger_interview ON ledger (created_at, interview_id);
