"""Litestar's request, whose body is JSON or told to be none."""

from typing import Any

from litestar import Request
from litestar.exceptions import SerializationException

from server.problems import ProblemError


class JsonRequest(Request[Any, Any, Any]):
    """What the handlers get."""

    async def json(self) -> Any:
        """Return the body.

        Raises:
            ProblemError: 400; msgspec throws more than its own errors at bytes that are no UTF-8,
                and at a thousand brackets.
        """
        try:
            return await super().json()
        except (SerializationException, UnicodeDecodeError, RecursionError):
            raise ProblemError(400, "bad_request", "The body is no valid JSON.") from None
