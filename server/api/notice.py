"""The notice that is agreed to before an interview begins."""

from litestar import get

from server.api.deps import Deps
from server.api.described import SECURED, refusals
from server.auth import Caller
from server.notice import Notice


@get(
    "/api/notice",
    tags=["interviews"],
    security=SECURED,
    responses=refusals(),
    sync_to_thread=False,
)
def show_notice(deps: Deps, caller: Caller) -> Notice:
    """Tell what happens with the words of an interview, and whom they are sent to."""
    del caller  # only has to be somebody
    return deps.notice
