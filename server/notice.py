"""What a candidate is told before the interview begins, by the page and in the terminal alike."""

from urllib.parse import urlsplit

from msgspec import Struct

from server.settings import Settings

DATED = "2026-11"
"""Of the words below; to be changed with them, since each consent is kept with its version."""

_PROGRAM = "The interviewer is a computer program. It asks, listens, and asks about what you said."
_PREPARED = "It asks prepared questions: nothing that you say is sent to a language model."
_MODEL = (
    "Its words come from a language model at {provider}. The role and the interview so far are "
    "sent there, with the job description and the résumé where they were given. Your user name "
    "is not."
)
_STORED = (
    "{provider} stores each of these requests, and its answer, until the interviewer's turn is "
    "over. It is then asked to erase them."
)
_GROUPED = (
    "Where answers are assessed for reviewers, they are sent to {provider} once more, after the "
    "interview, together with those of others. They lie there until they are rated, for a day or "
    "two, and are then deleted."
)
_KEPT = (
    "The words of the interview, yours and the interviewer's, are written down with their times "
    "and kept on the server until you erase the interview."
)
_FREE = "You can pause, leave and come back, or end the interview at any time."


class Notice(Struct, frozen=True, kw_only=True):
    """What is to be agreed to; ``version`` goes into `Consent`."""

    version: str
    points: tuple[str, ...]


def notice(settings: Settings) -> Notice:
    """Return the notice for interviews of an instance that is set up like this."""
    if settings.openai_api_key is None:
        return Notice(version=f"{DATED}-offline", points=(f"{_PROGRAM} {_PREPARED}", _KEPT, _FREE))
    provider = urlsplit(settings.openai_base_url).hostname or settings.openai_base_url
    points = [_PROGRAM, _MODEL.format(provider=provider), _KEPT, _FREE]
    # The switch does nothing with Chat Completions, which nobody stores for viva.
    stored = settings.background and settings.api == "responses"
    if stored:
        points.insert(2, _STORED.format(provider=provider))
    if settings.ratings == "batch":
        points.insert(-2, _GROUPED.format(provider=provider))
    version = f"{DATED}-model{'-stored' * stored}{'-grouped' * (settings.ratings == 'batch')}"
    return Notice(version=version, points=tuple(points))
