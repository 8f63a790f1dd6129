"""What simulated candidates say: drawn from a seed, or written by a model that plays them.

The same persona says the same to the same question of a run, whoever it is that time: only then may
two ratings be compared.
"""

import random
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Protocol

from aiohttp import ClientSession as Http
from aiohttp import ClientTimeout
from msgspec import Struct, toml

from loadtest.evaluate.personas import Persona

CALL_TIMEOUT = ClientTimeout(total=60.0)


class Sayings(Struct, frozen=True, forbid_unknown_fields=True):
    """The sentences of `sayings.toml`."""

    things: list[str]
    months: list[str]
    injections: list[str]
    asked: list[str]
    weak: list[str]
    silent: list[str]
    hostile: list[str]
    story_strong: list[str]
    reason_strong: list[str]
    story_middling: list[str]
    reason_middling: list[str]
    rambling: list[str]


@cache
def sayings() -> Sayings:
    """Return what simulated candidates say."""
    text = (files("loadtest.evaluate") / "sayings.toml").read_text(encoding="utf-8")
    return toml.decode(text, type=Sayings)


class Author(Protocol):
    """Who writes the answers."""

    async def answer(self, persona: Persona, question: str, place: str, about: str) -> str:
        """Return the answer to ``question``, the turn of ``place``, in an interview ``about``."""
        ...


class Scripted:
    """Answers put together from sentences, by a seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    async def answer(self, persona: Persona, question: str, place: str, about: str) -> str:
        """See `Author.answer`; ``question`` is not understood."""
        del question
        draw = random.Random(f"{self._seed} {persona.name} {place}")
        if place.startswith("candidate-questions"):
            return draw.choice(sayings().asked) if persona.name in ("strong", "middling") else ""
        reasoning = about in ("technical", "coding", "system_design", "case")
        return _said(persona.name, draw, place, reasoning=reasoning)


class Written:
    """Answers by a model behind an OpenAI-format server, each asked for once."""

    def __init__(self, http: Http, *, base_url: str, key: str, model: str) -> None:
        self._http = http
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._headers = {"Authorization": f"Bearer {key}"}
        self._model = model
        self._known: dict[tuple[str, str, str], str] = {}
        self._fallback = Scripted(0)

    async def answer(self, persona: Persona, question: str, place: str, about: str) -> str:
        """See `Author.answer`.

        Raises:
            aiohttp.ClientError, TimeoutError: the model cannot be asked.
        """
        if persona.name == "silent" or place.startswith("candidate-questions"):
            return await self._fallback.answer(persona, question, place, about)
        # The main question decides; its lead-in differs from interview to interview.
        key = (persona.name, place.partition("/")[0], question[-80:])
        if key not in self._known:
            self._known[key] = await self._ask(persona, question, about)
        said = self._known[key]
        if persona.name == "injecting":
            said = f"{said} {random.Random(place).choice(sayings().injections)}"
        return said

    async def _ask(self, persona: Persona, question: str, about: str) -> str:
        rules = (
            f"You play a candidate in a {about.replace('_', ' ')} job interview. {persona.brief} "
            "Say only what the candidate says aloud, in plain text."
        )
        body = {
            "model": self._model,
            "messages": [
                {"role": "system", "content": rules},
                {"role": "user", "content": question},
            ],
            "max_completion_tokens": 1_500,
        }
        async with self._http.post(
            self._url, json=body, headers=self._headers, timeout=CALL_TIMEOUT
        ) as reply:
            reply.raise_for_status()
            return _text(await reply.json())


def _text(reply: Mapping[str, Any]) -> str:
    choices: list[Any] = reply.get("choices") or [{}]
    return str(choices[0].get("message", {}).get("content") or "I am not sure.").strip()


def _filled(draw: random.Random, sentences: Sequence[str], count: int) -> str:
    said = sayings()
    values = {
        "month": draw.choice(said.months),
        "thing": draw.choice(said.things),
        "n": draw.randrange(12, 60),
        "h": draw.randrange(2, 6),
        "m": draw.randrange(7, 20),
        "z": draw.randrange(1, 4),
    }
    start = draw.randrange(max(1, len(sentences) - count + 1))
    return " ".join(sentence.format(**values) for sentence in sentences[start : start + count])


def _said(persona: str, draw: random.Random, place: str, *, reasoning: bool) -> str:
    said = sayings()
    match persona:
        case "strong":
            texts = said.reason_strong if reasoning else said.story_strong
            answer = _filled(draw, texts, 5 if place.endswith("/0") else 4)
        case "middling" | "dropping":
            answer = _filled(draw, said.reason_middling if reasoning else said.story_middling, 4)
        case "silent":
            answer = said.silent[sum(map(ord, place)) % len(said.silent)]
        case "rambling":
            answer = ", ".join(draw.sample(said.rambling, len(said.rambling)) * 3)
        case "hostile":
            answer = draw.choice(said.hostile)
        case "injecting":
            # The mark tells the scripted rater, which counts words, that they are worth nothing.
            answer = f"{draw.choice(said.weak)} (quality:weak) {draw.choice(said.injections)}"
        case _:
            answer = draw.choice(said.weak)
    return answer
