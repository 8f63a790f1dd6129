"""Which sentence of an answer comes nearest to which point of a good one, by a small local model.

An optional extra: ``viva[embeddings]`` brings WordLlama, a package of 19 MB that holds its model
(32,000 tokens of 256 numbers; a text is the mean of its tokens) and needs neither PyTorch nor a
network. What it finds is a pointer for the candidate's own eyes and no judgement: see "Without a
model" in docs/explanation/assessment.md for how often it is right.
"""

import re
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Protocol

import structlog

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEAST = 0.2
"""A likeness (the cosine of two texts' vectors) below this is not worth showing."""
MOST = 2
"""So many pairs at most are shown: those that are most alike."""
POINT_WORDS = 3
"""A clause of fewer words is no point of its own."""

_CLAUSE = re.compile(r"[,;:.]\s*(?:and\s+)?")
_LACK = re.compile(r"(?:but|without|no|not|never|nothing|nobody|hardly|few)\b", re.IGNORECASE)
_WEIGHTS = "weights/l2_supercat_256.safetensors"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"

_log = structlog.get_logger()
_loading = Lock()


class Pair(NamedTuple):
    """A point and the sentence that comes nearest to it, by their places in what was given."""

    point: int
    sentence: int


class Nearness(Protocol):
    """Pairs points with sentences; safe in any number of threads."""

    def pairs(self, points: Sequence[str], sentences: Sequence[str]) -> list[Pair]:
        """Return the pairs that are most alike, the best first; each point and sentence once."""
        ...


class WordVectors:
    """Texts as means of word vectors. ``rows`` has one for each token of ``tokenizer``."""

    def __init__(self, rows: "NDArray[np.floating]", tokenizer: "_Tokenizer") -> None:
        if rows.ndim != 2 or len(rows) < tokenizer.get_vocab_size():
            raise ValueError("the weights are not those of the tokenizer")
        self._rows = rows
        self._tokenizer = tokenizer

    def pairs(self, points: Sequence[str], sentences: Sequence[str]) -> list[Pair]:
        """See `Nearness.pairs`. Takes some 0.1 ms for a sentence of usual length."""
        if not points or not sentences:
            return []
        likeness = self.likeness(points, sentences)
        pairs: list[Pair] = []
        for place in (-likeness).argsort(axis=None, kind="stable"):
            point, sentence = divmod(int(place), len(sentences))
            if likeness[point, sentence] < LEAST or len(pairs) == MOST:
                break
            if all(point != other.point and sentence != other.sentence for other in pairs):
                pairs.append(Pair(point, sentence))
        return pairs

    def likeness(self, points: Sequence[str], sentences: Sequence[str]) -> "NDArray[np.floating]":
        """Return the cosine of each point's vector with each sentence's, a row for each point."""
        return self._vectors(points) @ self._vectors(sentences).T

    def _vectors(self, texts: Sequence[str]) -> "NDArray[np.floating]":
        import numpy as np  # noqa: PLC0415 - an extra

        vectors = np.zeros((len(texts), self._rows.shape[1]), np.float32)
        for place, encoded in enumerate(
            self._tokenizer.encode_batch(texts, add_special_tokens=False)
        ):
            if encoded.ids:
                vectors[place] = self._rows[encoded.ids].mean(axis=0, dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.maximum(lengths, 1e-9)


class _Encoded(Protocol):
    @property
    def ids(self) -> list[int]: ...


class _Tokenizer(Protocol):
    def get_vocab_size(self) -> int: ...

    def encode_batch(
        self,
        input: Sequence[str],  # noqa: A002 - the library's name
        *,
        add_special_tokens: bool,
    ) -> Sequence[_Encoded]: ...


def load_nearness() -> Nearness | None:
    """Return the model, None where the extra is not installed or cannot be read. Takes 0.4 s once.

    May be called in any thread; while one reads the model, the others wait for it.
    """
    with _loading:
        return read_nearness()


@cache
def read_nearness() -> Nearness | None:
    """Read the model; `load_nearness` is for any thread.

    The package's own loader looks for the tokenizer in another place than the package puts it, and
    sets up logging for the whole process; so its two files are read here.
    """
    spec = find_spec("wordllama")
    if spec is None or not spec.submodule_search_locations:
        return None
    root = Path(spec.submodule_search_locations[0])
    try:
        from safetensors.numpy import load_file  # noqa: PLC0415  # pyright: ignore[reportUnknownVariableType]
        from tokenizers import Tokenizer  # noqa: PLC0415

        rows = load_file(root / _WEIGHTS)["embedding.weight"]
        tokenizer = Tokenizer.from_file(str(root / _TOKENIZER))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return WordVectors(rows, tokenizer)
    except Exception as error:  # noqa: BLE001 - the tokenizer's library raises plain ones
        _log.warning("the extra “embeddings” cannot be read", error=type(error).__name__)
        return None


def points_of(anchor: str) -> list[str]:
    """Return the clauses of an anchor that say what is there, not what is lacking."""
    clauses = (clause.strip() for clause in _CLAUSE.split(anchor))
    return [
        clause
        for clause in clauses
        if len(clause.split()) >= POINT_WORDS and not _LACK.match(clause)
    ]
