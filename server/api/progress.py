"""How somebody's scores went from interview to interview."""

from litestar import get
from litestar.datastructures import CacheControlHeader

from server.api.deps import Deps
from server.api.described import SECURED, refusals
from server.auth import Caller, may_be_user
from server.caching import LIST_S, Kept, progress_of
from server.problems import ProblemError
from server.reporting.progress import Progress, progress

_KEPT = Kept("progress", LIST_S, Progress)


@get(
    "/api/progress",
    tags=["reports"],
    security=SECURED,
    responses=refusals(403),
    cache_control=CacheControlHeader(no_store=True),
)
async def show_progress(deps: Deps, caller: Caller, user: str | None = None) -> Progress:
    """Tell how the caller's scores went; of another `user`, for reviewers only."""
    if user is not None and user != caller.user and not caller.reviews:
        raise ProblemError(403, "reviewers_only", "The progress of others is shown to reviewers.")
    whose = user or caller.user
    if not may_be_user(whose):
        raise ProblemError(400, "invalid_request", "Nobody can be called that.")

    async def load() -> Progress:
        reports = await deps.assessments.reports_of(whose)
        # Ratings of an assessment are shown to reviewers only, in means as little as one by one.
        return progress([each for each in reports if caller.reviews or each.mode == "practice"])

    name = "all" if caller.reviews else "practice"
    return await deps.caching.read(_KEPT, progress_of(whose), name, load)
