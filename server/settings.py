"""All settings, from the environment, each declared once: name, default, what it is for.

Nothing is read at import. A wrong or unknown ``VIVA_`` setting stops the start with a sentence that
names it; `reference` writes the page of the docs.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from server.readers import (
    FLAG,
    HOSTS,
    HOURS,
    MODELS,
    ORIGINS,
    PRICES,
    WEB_ADDRESS,
    Prices,
    Reader,
    number,
    one_of,
    optional,
    whole,
)

SECRET_BYTES = 32
"""The least length of VIVA_JWT_SECRET (RFC 7518, §3.2: a key at least as long as the hash)."""


class SettingsError(Exception):
    """A setting is wrong; the message names it and says what it has to be."""


class Settings(Struct, frozen=True, kw_only=True):
    """What an instance is set up with. Times in seconds."""

    redis_url: str
    cache_url: str
    cache_bytes: int
    model_calls: int
    model_tokens_per_minute: int
    database_url: str
    database_replica_url: str | None
    openai_api_key: str | None
    openai_base_url: str
    jwt_secret: str
    model: str
    fallback_models: tuple[str, ...]
    question_cache: bool
    api: Literal["chat", "responses"]
    background: bool
    first_token_timeout_s: float
    token_timeout_s: float
    bank_pace: float
    assessor_model: str
    assessor_samples: int
    ratings: Literal["live", "batch"]
    batch_hours: tuple[int, int]
    batch_wait_s: float
    worker_jobs: int
    prices: Mapping[str, Prices]
    budget_interview_usd: float
    budget_user_day_usd: float
    budget_day_usd: float
    budget_soft: float
    assessor_timeout_s: float
    origins: tuple[str, ...]
    hosts: tuple[str, ...]
    max_connections: int
    max_interviews_per_user: int
    log_length: int
    idle_s: float
    grace_s: float
    drain_s: float
    reuse_port: bool
    log_level: str

    def __repr__(self) -> str:
        """Name no value: addresses and keys are secrets."""
        return "Settings(…)"


class Declared(NamedTuple):
    """One setting. ``default`` is its text in the environment; None: it must be given."""

    variable: str
    field: str
    read: Callable[[str], Any]
    default: str | None
    meaning: str


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read all settings.

    Raises:
        SettingsError: one is missing, wrong or unknown, or of no effect beside another.
    """
    check_names(environ)
    values = {declared.field: _read(declared, environ) for declared in DECLARED}
    settings = Settings(**values)
    if settings.background and settings.api == "chat":
        raise SettingsError(
            "VIVA_BACKGROUND=1 has no effect with VIVA_API=chat: set VIVA_API=responses as well,"
            " or VIVA_BACKGROUND=0"
        )
    return settings


def read_setting(variable: str, environ: Mapping[str, str]) -> Any:
    """Read one setting, for what needs no other.

    Raises:
        SettingsError: it is missing or wrong, or there is an unknown one.
    """
    check_names(environ)
    (declared,) = (declared for declared in DECLARED if declared.variable == variable)
    return _read(declared, environ)


def reference() -> str:
    """Return the settings as a Markdown table."""
    rows = [f"| `{d.variable}` | {_default(d)} | {_takes(d)} | {d.meaning} |" for d in DECLARED]
    return "\n".join(["| variable | default | values | meaning |", "|---|---|---|---|", *rows, ""])


def _takes(declared: Declared) -> str:
    return declared.read.takes if isinstance(declared.read, Reader) else "text"


def check_names(environ: Mapping[str, str]) -> None:
    """Look for settings that there are none of.

    Raises:
        SettingsError: there is one.
    """
    known = {declared.variable for declared in DECLARED} | OTHERS
    for variable in environ:
        if variable.upper().startswith("VIVA_") and variable not in known:
            raise SettingsError(f"{variable} is no setting of viva; see docs/reference/settings.md")


def _default(declared: Declared) -> str:
    if declared.default is None:
        return "required"
    return f"`{declared.default}`" if declared.default else "—"


def _read(declared: Declared, environ: Mapping[str, str]) -> Any:
    text = environ.get(declared.variable) or declared.default
    if text is None:
        raise SettingsError(f"{declared.variable} is not set: {declared.meaning}")
    try:
        return declared.read(text)
    except ValueError as error:
        raise SettingsError(f"{declared.variable} is wrong: {error}") from None


def _text(text: str) -> str:
    return text


def _optional(text: str) -> str | None:
    return text or None


def _redis(text: str) -> str:
    # Imported here: the commands that ask for one setting do without the client.
    from storage.redis.connect import connect  # noqa: PLC0415

    connect(text)  # opens nothing
    return text


def _postgres(text: str) -> str:
    from storage.postgres.pool import address  # noqa: PLC0415

    address(text, {})
    return text


def _secret(text: str) -> str:
    if len(text.encode()) < SECRET_BYTES:
        raise ValueError(f"it needs at least {SECRET_BYTES} bytes")
    return text


_REDIS = Reader("`redis://` `rediss://` `redis+sentinel://` `unix://`", _redis)
_POSTGRES = Reader("`postgresql://`", _postgres)
_SECRET = Reader(f"{SECRET_BYTES} bytes or more", _secret)

OTHERS = frozenset(("VIVA_TOKEN", "VIVA_URL"))
"""Variables of the command line's clients, which an instance does not read."""

DECLARED: tuple[Declared, ...] = (
    Declared(
        "REDIS_URL",
        "redis_url",
        _REDIS,
        None,
        "live sessions",
    ),
    Declared(
        "CACHE_URL",
        "cache_url",
        optional(_REDIS, absent=""),
        "",
        "caches; empty: the same server as that of `REDIS_URL`. Losing them costs nothing but time",
    ),
    Declared(
        "VIVA_CACHE_BYTES",
        "cache_bytes",
        whole(65_536, 1_000_000_000_000),
        "67108864",
        "what all caches together may take in Redis; what would lapse first makes room",
    ),
    Declared(
        "DATABASE_URL",
        "database_url",
        _POSTGRES,
        None,
        "transcripts: the primary",
    ),
    Declared(
        "DATABASE_REPLICA_URL",
        "database_replica_url",
        optional(_POSTGRES, absent=None),
        "",
        "reads that tolerate lag; empty: the primary",
    ),
    Declared(
        "OPENAI_API_KEY",
        "openai_api_key",
        _optional,
        "",
        "the model's key; empty: the offline interviewer, from the question bank",
    ),
    Declared(
        "OPENAI_BASE_URL",
        "openai_base_url",
        WEB_ADDRESS,
        "https://api.openai.com/v1",
        "any server that speaks OpenAI's formats",
    ),
    Declared(
        "VIVA_JWT_SECRET",
        "jwt_secret",
        _SECRET,
        None,
        "signs and checks JWTs (HS256), tickets and resume tokens",
    ),
    Declared("VIVA_MODEL", "model", _text, "gpt-5.4-mini", "the interviewer's model"),
    Declared(
        "VIVA_FALLBACK_MODELS",
        "fallback_models",
        MODELS,
        "",
        "models of the same provider that speak, in this order, where the first one fails; then "
        "the question bank",
    ),
    Declared(
        "VIVA_QUESTION_CACHE",
        "question_cache",
        FLAG,
        "1",
        "1: interviews without a job description and a résumé share wordings of main questions, "
        "made by the model once for all; 0: each question is worded for its interview",
    ),
    Declared(
        "VIVA_API",
        "api",
        one_of("chat", "responses"),
        "chat",
        "`chat` for Chat Completions, `responses` for Responses",
    ),
    Declared(
        "VIVA_BACKGROUND",
        "background",
        FLAG,
        "0",
        "1: Responses are stored by the provider until the turn is over, so that another "
        "instance can go on with the same attempt; needs `VIVA_API=responses`",
    ),
    Declared(
        "VIVA_FIRST_TOKEN_TIMEOUT_S",
        "first_token_timeout_s",
        number(0.1, 120),
        "15",
        "how long the model may take to begin, in seconds",
    ),
    Declared(
        "VIVA_TOKEN_TIMEOUT_S",
        "token_timeout_s",
        number(0.1, 120),
        "10",
        "how long the model may pause between two pieces, in seconds",
    ),
    Declared(
        "VIVA_BANK_PACE",
        "bank_pace",
        number(0, 1000),
        "30",
        "words a second of the question bank; 0: all at once",
    ),
    Declared(
        "VIVA_ASSESSOR_MODEL",
        "assessor_model",
        _text,
        "gpt-5.4",
        "the model that rates answers for the report; a strong one",
    ),
    Declared(
        "VIVA_ASSESSOR_SAMPLES",
        "assessor_samples",
        whole(1, 9),
        "1",
        "how often each answer is rated; the score is the lower median, and each costs a call",
    ),
    Declared(
        "VIVA_ASSESSOR_TIMEOUT_S",
        "assessor_timeout_s",
        number(1, 600),
        "60",
        "how long one call of the assessor may take, in seconds",
    ),
    Declared(
        "VIVA_RATINGS",
        "ratings",
        one_of("live", "batch"),
        "live",
        "`batch`: ratings of assessments, for which no candidate waits, go to the provider's Batch "
        "API in groups, at half the price; reports then come hours later. `live`: at once",
    ),
    Declared(
        "VIVA_BATCH_HOURS",
        "batch_hours",
        HOURS,
        "22-6",
        "from which hour until which batches are sent, in UTC; `0-24`: at any time",
    ),
    Declared(
        "VIVA_BATCH_WAIT_S",
        "batch_wait_s",
        number(0.1, 86_400),
        "600",
        "how long ratings wait for others within these hours before their batch is sent",
    ),
    Declared(
        "VIVA_WORKER_JOBS",
        "worker_jobs",
        whole(0, 100),
        "4",
        "ratings and reports made here at the same time; 0: none, `viva worker` makes them",
    ),
    Declared(
        "VIVA_PRICES",
        "prices",
        PRICES,
        "",
        "prices of further models, or other ones: US dollars per million tokens of input, cached "
        "input and output; a model of your own that costs nothing: `name=0/0/0`",
    ),
    Declared(
        "VIVA_BUDGET_INTERVIEW_USD",
        "budget_interview_usd",
        number(0, 1_000_000),
        "0.10",
        "what the model may cost in one interview, its ratings included, in US dollars; 0: no cap",
    ),
    Declared(
        "VIVA_BUDGET_USER_DAY_USD",
        "budget_user_day_usd",
        number(0, 1_000_000),
        "2.00",
        "what it may cost in all interviews of one user within a day of UTC; 0: no cap",
    ),
    Declared(
        "VIVA_BUDGET_DAY_USD",
        "budget_day_usd",
        number(0, 1_000_000),
        "0",
        "what it may cost in all interviews within a day of UTC; 0: no cap",
    ),
    Declared(
        "VIVA_BUDGET_SOFT",
        "budget_soft",
        number(0, 1),
        "0.8",
        "the share of a cap from which on the candidate is told that the budget runs low",
    ),
    Declared(
        "VIVA_MODEL_CALLS",
        "model_calls",
        whole(0, 100_000),
        "0",
        "calls to the model under way in the whole deployment; others wait, and a turn that waits "
        "too long is spoken by the question bank; 0: any number",
    ),
    Declared(
        "VIVA_MODEL_TOKENS_PER_MINUTE",
        "model_tokens_per_minute",
        whole(0, 1_000_000_000),
        "0",
        "tokens a minute, prompts included, that all calls of the deployment take; 0: any number",
    ),
    Declared(
        "VIVA_ORIGINS",
        "origins",
        ORIGINS,
        "",
        "origins of other pages that may open sockets, with commas; viva's own page always may",
    ),
    Declared(
        "VIVA_HOSTS",
        "hosts",
        HOSTS,
        "",
        "values of `Host` that are served, with commas; empty: any",
    ),
    Declared(
        "VIVA_MAX_CONNECTIONS",
        "max_connections",
        whole(1, 100_000),
        "6000",
        "sockets of this instance; more are sent to another one",
    ),
    Declared(
        "VIVA_MAX_INTERVIEWS_PER_USER",
        "max_interviews_per_user",
        whole(1, 10_000),
        "20",
        "interviews that one user may create within an hour, erased ones counted",
    ),
    Declared(
        "VIVA_LOG_LENGTH",
        "log_length",
        whole(64, 1_000_000),
        "4096",
        "events kept of each interview for clients that resume",
    ),
    Declared(
        "VIVA_IDLE_S",
        "idle_s",
        number(1, 86_400),
        "3600",
        "how long an interview rests before it is parked in PostgreSQL, in seconds; one that is "
        "over 70 at least, as its sockets wait for the report",
    ),
    Declared(
        "VIVA_GRACE_S",
        "grace_s",
        number(1, 86_400),
        "1800",
        "how long the candidate may be away before the interview is abandoned; its clock stands",
    ),
    Declared(
        "VIVA_DRAIN_S",
        "drain_s",
        number(0, 600),
        "13",
        "how long turns may run on after SIGTERM before they are released, in seconds",
    ),
    Declared(
        "VIVA_REUSE_PORT",
        "reuse_port",
        FLAG,
        "0",
        "1: several instances listen on one port (SO_REUSEPORT)",
    ),
    Declared(
        "VIVA_LOG_LEVEL",
        "log_level",
        one_of("debug", "info", "warning", "error"),
        "info",
        "the least level that is logged",
    ),
)
