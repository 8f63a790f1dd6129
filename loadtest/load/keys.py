"""Where a deployment is, and how users sign in there."""

from collections.abc import Sequence

from msgspec import Struct

from loadtest.candidate import bearer


class Keys(Struct, frozen=True, kw_only=True):
    """Addresses, and the secret that signs users in; or the token of the one user there is."""

    urls: Sequence[str]
    secret: str = ""
    token: str = ""

    def headers(self, user: str, role: str = "candidate") -> bytes:
        """Return the header by which somebody calls the API."""
        text = f"Bearer {self.token}"
        if self.secret:
            text = bearer(user, role, self.secret)["Authorization"]
        return f"Authorization: {text}\r\n".encode()
