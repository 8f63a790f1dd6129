"""The shared wordings of questions, in the cache: found, ordered where missing, made once.

A turn never waits for the model here: what is missing is ordered for the next time, and the turn is
spoken otherwise. What is an hour old is still spoken while it is made anew. An interview that is
created orders what it will need. Whoever makes something claims it first, so that no two instances
have the same made; a claim lapses with its instance.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import msgspec
import structlog
from msgspec import Struct

from ai.assessor import AssessmentFailedError
from ai.wording.maker import Maker
from ai.wording.needs import Need, needs_of
from protocol.session import Session
from server.caching import CacheMeter, Caching
from server.clock import Clock, backoff
from storage.cache import Cache
from storage.errors import StorageError

NAME = "question"
GROUP = "words"
FRESH_MS = 3_600_000
KEPT_MS = 2 * FRESH_MS
"""What is older than `FRESH_MS` is still spoken while it is made anew."""
CLAIM_MS = 180_000
TRIES = 5
"""How often what is done in the background is tried while the cache does not answer."""

T = TypeVar("T")

_log = structlog.get_logger()


class Orders(Protocol):
    """Who takes orders; see `server.assessing.orders.OrderBook`."""

    async def word(self, interview_id: str) -> bool:
        """Order the wordings of an interview."""
        ...


class Variants(Struct, frozen=True, kw_only=True):
    """What the cache holds of one line. ``made_at`` in Unix ms."""

    texts: tuple[str, ...]
    made_at: int


_variants = msgspec.json.Decoder(Variants)


class Wordings:
    """See `ai.wording.voice.Wordings`. Without a ``maker`` nothing is ordered or made."""

    def __init__(
        self,
        cache: Cache,
        *,
        caching: Caching,
        orders: Orders,
        clock: Clock,
        meter: CacheMeter,
        maker: Maker | None,
    ) -> None:
        self._cache = cache
        self._caching = caching
        self._orders = orders
        self._clock = clock
        self._meter = meter
        self._maker = maker

    async def find(self, interview_id: str, needs: Sequence[Need]) -> Sequence[tuple[str, ...]]:
        """See `ai.wording.voice.Wordings.find`."""
        held = await self._held(needs)
        if any(each is None or self._old(each) for each in held):
            await self._order(interview_id)
        answer = "miss" if None in held else "hit"
        if needs:
            self._meter.cache_asked(NAME, answer)
        return [each.texts if each is not None else () for each in held]

    async def prepare(self, session: Session) -> None:
        """Order what a new interview will need, unless it is there; never fails nor takes long."""
        needs = needs_of(session.plan, session.guide) if self._maker is not None else ()
        if await self._wanted(needs):
            await self._order(session.interview_id)

    async def fill(self, session: Session) -> None:
        """Have made what the interview needs and is neither there nor being made.

        Nobody waits for it: what cannot be made now is ordered again by whoever misses it, and
        stays claimed for a while, so that it is not tried with every turn.
        """
        if self._maker is None:
            return
        wanted = await self._wanted(needs_of(session.plan, session.guide))
        claimed = [need for need in wanted if await self._claim(need)]
        still = await self._wanted(claimed)
        for need in claimed:
            if need not in still:
                await self._release(need)  # somebody made it before it was claimed here
        if not still:
            return
        try:
            made = await self._maker.make(session.interview_id, session.user_id, still)
        except AssessmentFailedError as error:
            _log.info("no wordings made", code=error.code, lines=len(still))
            return
        for need in still:
            if need.key in made:
                await self._keep(need.key, made[need.key])
                await self._release(need)

    async def aclose(self) -> None:
        """Close the maker's connections."""
        if self._maker is not None:
            await self._maker.aclose()

    async def _held(self, needs: Sequence[Need]) -> Sequence[Variants | None]:
        if not needs:
            return ()
        names = [need.key for need in needs]
        found = await self._caching.ask(NAME, lambda: self._cache.find(GROUP, names))
        if found is None:
            return [None] * len(needs)
        return [None if value is None else _read(value) for value in found.values]

    async def _wanted(self, needs: Sequence[Need]) -> list[Need]:
        pairs = zip(needs, await self._held(needs), strict=True)
        return [need for need, each in pairs if each is None or self._old(each)]

    def _old(self, variants: Variants) -> bool:
        return self._clock.now() - variants.made_at >= FRESH_MS

    async def _order(self, interview_id: str) -> None:
        if self._maker is not None:
            await self._caching.ask("order", lambda: self._orders.word(interview_id))

    async def _claim(self, need: Need) -> bool:
        return bool(await self._surely(lambda: self._cache.claim(need.key, CLAIM_MS)))

    async def _release(self, need: Need) -> None:
        await self._surely(lambda: self._cache.release(need.key))

    async def _keep(self, key: str, texts: tuple[str, ...]) -> None:
        value = msgspec.json.encode(Variants(texts=texts, made_at=self._clock.now()))
        await self._surely(lambda: self._cache.keep(GROUP, key, value, ttl_ms=KEPT_MS))

    async def _surely(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """Make a call in the background, where it may take a while: what was made is paid for."""
        for attempt in range(TRIES):
            try:
                return await call()
            except StorageError:
                await backoff(self._clock, attempt, base_s=0.2)
        return None


def _read(value: bytes) -> Variants | None:
    try:
        return _variants.decode(value)
    except ValueError:  # of msgspec, or of bytes that are no UTF-8
        return None
