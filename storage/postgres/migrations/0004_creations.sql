-- When users created interviews lately, to limit how many one may create. It names no interview, and
-- erasing one leaves it: or else creating and erasing in turn would know no limit. Kept for an hour,
-- and until the next look, which comes daily at the latest.

CREATE TABLE creations (
  user_id text NOT NULL,
  at timestamptz NOT NULL
);
CREATE INDEX creations_user ON creations (user_id, at);
CREATE INDEX creations_time ON creations (at);
