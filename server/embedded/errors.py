"""What can go wrong while an embedded server starts or stops, told in one sentence."""


class EmbeddedError(Exception):
    """An embedded server cannot run; `str()` is one sentence for a person, with what to do."""


class PortTakenError(EmbeddedError):
    """Somebody else listens on the port."""

    def __init__(self, name: str, port: int) -> None:
        super().__init__(f"{name} cannot start: port {port} of 127.0.0.1 is taken")
