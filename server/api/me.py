"""The caller as a user: what they told about themselves, and how far they may go."""

from litestar import Controller, get, patch
from litestar.datastructures import CacheControlHeader
from msgspec import Struct

from protocol.scalars import Milliseconds
from server.api.deps import Deps
from server.api.described import SECURED, refusals
from server.api.limits import UserLimits
from server.api.resources import check_line
from server.auth import Caller, UserRole
from server.caching import PROFILE_S, Kept, profile_of
from storage.postgres.profiles import Preferences, Profile, ProfilePatch

_KEPT = Kept("profile", PROFILE_S, Profile)
_NAME = "profile"


class Me(Struct, frozen=True, kw_only=True):
    """The caller."""

    user: str
    role: UserRole
    name: str | None
    language: str | None
    preferences: Preferences
    limits: UserLimits
    updated_at: Milliseconds | None


class Myself(Controller):
    """`/api/me`."""

    path = "/api/me"
    tags = ("users",)
    security = SECURED
    cache_control = CacheControlHeader(no_store=True)

    @get(responses=refusals())
    async def show(self, deps: Deps, caller: Caller) -> Me:
        """Show what the caller told about themselves, and their limits."""
        profile = await deps.caching.read(
            _KEPT, profile_of(caller.user), _NAME, lambda: deps.profiles.get(caller.user)
        )
        return _shown(deps, caller, profile)

    @patch(responses=refusals(408, 413))
    async def change(self, deps: Deps, caller: Caller, data: ProfilePatch) -> Me:
        """Change some of it, as a merge patch (RFC 7396): what is null goes, the rest stays."""
        _check(data)
        profile = await deps.profiles.change(caller.user, data, deps.clock.now())
        await deps.caching.written(_KEPT, profile_of(caller.user), _NAME, profile, profile.version)
        return _shown(deps, caller, profile)


def _shown(deps: Deps, caller: Caller, profile: Profile) -> Me:
    return Me(
        user=caller.user,
        role=caller.role,
        name=profile.name,
        language=profile.language,
        preferences=profile.preferences,
        limits=deps.limits,
        updated_at=profile.updated_at,
    )


def _check(data: ProfilePatch) -> None:
    """Refuse what is no words for people.

    Raises:
        ProblemError: 400, with the field's name.
    """
    if data.name:
        check_line("name", data.name)
    if data.preferences and data.preferences.role:
        check_line("preferences.role", data.preferences.role)
