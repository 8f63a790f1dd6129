"""A real HTTP server that speaks OpenAI's formats, on loopback, with every fault a provider has.

What it says is drawn from a seed; what was consumed of it is on its bill.
"""

from loadtest.fakeopenai.server import FakeOpenAI, Options

__all__ = ["FakeOpenAI", "Options"]
