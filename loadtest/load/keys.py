"""Where a deployment is, and how users sign in there."""

from collections.abc import Sequence

from msgspec import Struct

from loadtest.candidate import bearer


class Keys(Struct, frozen=True, kw_only=True):
    """Addresses, and the secret that signs users in; or the token of the one user there is."""

    urls: Sequence[str]
    secret: str = ""
    token: str = ""
    names: str = "load-"
    """How the names of all users begin. Those of one run have a name of their own for it: users
    of an earlier one may still be in their interviews, and may create so many an hour."""

    def headers(self, user: str, role: str = "candidate") -> bytes:
        """Return the header by which somebody calls the API."""
        text = f"Bearer {self.token}"
        if self.secret:
            text = bearer(self.names + user, role, self.secret)["Authorization"]
        return f"Authorization: {text}\r\n".encode()
