"""Why a document gives no text."""

from typing import Literal

Fault = Literal["damaged", "encrypted", "costly", "no_text"]


class UnreadableError(Exception):
    """There is no text to be had from this document."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault: Fault = fault
