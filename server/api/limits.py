"""How far a user may go, as the API tells."""

from msgspec import Struct


class UserLimits(Struct, frozen=True, kw_only=True):
    """What a user may have, as this deployment is set up; null: no limit. Not theirs to change."""

    interviews_per_hour: int
    interview_usd: float | None
    day_usd: float | None
