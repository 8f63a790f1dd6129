-- Who erased which interview lately, so that their repeated request is answered like the first, and
-- anybody else's like that for an interview that never was. Kept as long as `creations`.

CREATE TABLE erasures (
  interview_id uuid PRIMARY KEY,
  user_id text NOT NULL,
  at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX erasures_time ON erasures (at);
