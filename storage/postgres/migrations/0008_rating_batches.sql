-- Ratings that nobody waits for: their calls are parked, sent to the provider in groups, taken in.

-- A group. It is sealed, with what belongs to it, before anything of it is sent; whoever works at it holds
-- it for a while, and writes nothing under an older `holder`.
CREATE TABLE rating_batches (
  batch_id uuid PRIMARY KEY,
  api text NOT NULL,
  model text NOT NULL,
  sealed_at timestamptz NOT NULL DEFAULT now(),
  -- The provider's name for it, from when it is known to have been sent.
  provider_id text,
  tries integer NOT NULL DEFAULT 0,
  due_at timestamptz NOT NULL DEFAULT now(),
  holder text,
  held_until timestamptz,
  ended_at timestamptz,
  ended text
);
CREATE INDEX rating_batches_due ON rating_batches (due_at) WHERE ended_at IS NULL;

-- A parked call: it waits, is in a batch, and then has a reply, or a code that says why it is made live.
-- Gone with its interview, and some time after the report.
CREATE TABLE rating_requests (
  user_id text NOT NULL,
  created_at timestamptz NOT NULL,
  interview_id uuid NOT NULL,
  question_id text NOT NULL,
  sample integer NOT NULL,
  request_id text NOT NULL UNIQUE,
  task text NOT NULL,
  turn integer NOT NULL,
  sampled boolean NOT NULL,
  api text NOT NULL,
  model text NOT NULL,
  canary text NOT NULL,
  prompt_sha256 text NOT NULL,
  instructions text NOT NULL,
  input text NOT NULL,
  parked_at timestamptz NOT NULL DEFAULT now(),
  not_before timestamptz NOT NULL DEFAULT now(),
  batch_id uuid REFERENCES rating_batches,
  reply text,
  code text,
  PRIMARY KEY (user_id, created_at, interview_id, question_id, sample)
);
CREATE INDEX rating_requests_interview ON rating_requests (interview_id);
CREATE INDEX rating_requests_batch ON rating_requests (batch_id);
CREATE INDEX rating_requests_waiting ON rating_requests (parked_at)
  WHERE batch_id IS NULL AND reply IS NULL AND code IS NULL;
