"""Scenarios: what is done to a deployment, and what has to hold. TOML files, checked when read."""

import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from loadtest.fakeopenai.faults import Fault
from loadtest.load.figures import known

Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Number = Annotated[int, Meta(ge=0)]
Bounds = dict[str, float | dict[str, float]]


class ScenarioError(Exception):
    """A scenario cannot be used; the message names the file and the key."""


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A misspelt key must not leave a default in force."""


class Users(_Part, frozen=True, kw_only=True):
    """Who comes: ``count`` users who stay, or arrivals at ``per_second``, however slow it gets."""

    count: Number = 0
    per_second: NotNegative = 0.0
    ramp_s: NotNegative = 5.0
    """Over how long they come, or until arrivals have their full rate."""
    voice: Share = 0.3
    """How many speak, with partials; the others type."""
    quiet: Share = 0.0
    """How many only hold a socket."""
    msgpack: Share = 0.5
    drops_per_minute: NotNegative = 0.0
    """How often a user's connection breaks."""
    away_s: NotNegative = 2.0
    """How long that user is gone then, on average."""


class Script(_Part, frozen=True, kw_only=True):
    """What an interview is, and how its candidate talks. Times are means."""

    type: str = "behavioral"
    role: str = "Engineer"
    duration_minutes: Annotated[int, Meta(ge=15, le=60)] = 60
    answers: Annotated[int, Meta(ge=1)] = 3
    """After so many the candidate ends the interview."""
    think_s: NotNegative = 3.0
    words: Annotated[int, Meta(ge=1, le=2_000)] = 40
    words_per_second: Positive = 2.5
    partials_per_second: Annotated[float, Meta(gt=0, le=10)] = 3.0
    again: bool = True
    """Whether a user who stays begins another interview."""


class Stalls(_Part, frozen=True, kw_only=True):
    """Readers who stop reading. With ``round_s`` they do so in every second round only."""

    share: Share = 0.0
    round_s: NotNegative = 0.0


class Rest(_Part, frozen=True, kw_only=True):
    """Requests beside the interviews, in open loop; ``mix`` has their weights."""

    per_second: NotNegative = 0.0
    users: Annotated[int, Meta(ge=1)] = 20
    interviews: Annotated[int, Meta(ge=1)] = 3
    """How many each of these users has."""
    mix: dict[Literal["list", "read", "transcript", "me", "progress", "live"], NotNegative] = field(
        default_factory=lambda: {"list": 4.0, "read": 4.0, "transcript": 1.0, "me": 1.0}
    )


class Strike(_Part, frozen=True, kw_only=True):
    """An instance that is killed, of those that the run started."""

    at_s: Positive
    again_s: NotNegative = 0.0
    """After how long it is started again; 0: not at all."""


class Provider(_Part, frozen=True, kw_only=True):
    """Who speaks on instances that the run starts: the fake provider, or the question bank."""

    source: Literal["fake", "bank"] = "fake"
    tokens: Annotated[int, Meta(ge=1)] = 40
    """Mean length of a reply."""
    tokens_per_second: Positive = 30.0
    first_token_s: NotNegative = 0.2
    faults: tuple[Fault, ...] = ()
    usd_per_million: tuple[NotNegative, NotNegative, NotNegative] = (0.4, 0.1, 1.6)
    """For tokens of input, cached input and output."""


class Server(_Part, frozen=True, kw_only=True):
    """The instances that the run starts, unless it is given an address."""

    instances: Annotated[int, Meta(ge=1, le=64)] = 1
    settings: dict[str, str] = {}


class Machine(_Part, frozen=True, kw_only=True):
    """From where on a run says more about the machine than about the server, and is void."""

    busy: Share = 0.9
    stolen: Share = 0.02
    late_ms: Positive = 50.0
    """A generator that is later than this at its 99th percentile measures itself."""
    awake: bool = True
    """Whether idle cores are kept from sleeping for the time of the run, where that is allowed."""


class Knee(_Part, frozen=True, kw_only=True):
    """Steps of more and more users (or arrivals), until the thresholds break."""

    start: Positive
    factor: Annotated[float, Meta(gt=1)] = 1.5
    steps: Annotated[int, Meta(ge=1, le=50)] = 10
    finer: Annotated[int, Meta(ge=0, le=10)] = 2
    """How often the gap between the last that held and the first that broke is halved."""


class Scenario(_Part, frozen=True, kw_only=True):
    """A whole scenario."""

    about: str = ""
    seed: int = 1
    duration_s: Positive = 30.0
    """Without the ramp; figures are those of this time."""
    settle_s: NotNegative = 15.0
    """How long open commands and transcripts may take in the end."""
    workers: Annotated[int, Meta(ge=0, le=64)] = 0
    """Generator processes; 0: by the number of users."""
    users: Users = Users()
    script: Script = Script()
    stalls: Stalls = Stalls()
    rest: Rest = Rest()
    provider: Provider = Provider()
    server: Server = Server()
    machine: Machine = Machine()
    transcripts: Share = 1.0
    """Of how many interviews the stored transcript is held against what was seen and said."""
    strike: Strike | None = None
    knee: Knee | None = None
    at_most: Bounds = {}
    at_least: Bounds = {}

    @property
    def begins_s(self) -> float:
        """When what is measured begins."""
        return self.users.ramp_s

    @property
    def ends_s(self) -> float:
        """When nothing new is begun any more."""
        return self.users.ramp_s + self.duration_s

    def measures(self, second: int) -> bool:
        """Whether the second that begins then lies in what is measured."""
        return self.begins_s <= second and second + 1 <= self.ends_s


def shipped() -> dict[str, str]:
    """Return the scenarios that come with viva, and what each is about."""
    folder = files("loadtest.load") / "scenarios"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return {
        name.removesuffix(".toml"): read(
            (folder / name).read_text(encoding="utf-8"), name=name
        ).about
        for name in names
    }


def load(which: str) -> Scenario:
    """Read a shipped scenario by its name, or any by its path.

    Raises:
        ScenarioError: there is none, or it is wrong.
    """
    path = Path(which)
    if path.suffix == ".toml" or path.is_file():
        try:
            return read(path.read_text(encoding="utf-8"), name=which)
        except (OSError, UnicodeDecodeError) as error:
            raise ScenarioError(f"{which} cannot be read: {error}") from None
    entry = files("loadtest.load") / "scenarios" / f"{which}.toml"
    if not which.replace("-", "").isalnum() or not entry.is_file():
        there = ", ".join(shipped())
        raise ScenarioError(f"There is no scenario {which}; there are {there}, or name a file.")
    return read(entry.read_text(encoding="utf-8"), name=f"{which}.toml")


def read(text: str, *, name: str) -> Scenario:
    """Read a scenario from its text.

    Raises:
        ScenarioError: it is wrong.
    """
    try:
        scenario = msgspec.convert(tomllib.loads(text), Scenario)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{name} is no TOML: {error}") from None
    except msgspec.ValidationError as error:
        told, _, place = str(error).partition(" - at `$")
        key = place.strip("`").lstrip(".") or "the whole"
        raise ScenarioError(f"{name}: {key}: {told}") from None
    for key, problem in _problems(scenario):
        raise ScenarioError(f"{name}: {key}: {problem}")
    return scenario


def flat(bounds: Bounds) -> dict[str, float]:
    """Return bounds by the full names of their figures."""
    found: dict[str, float] = {}
    for name, bound in bounds.items():
        if isinstance(bound, Mapping):
            found |= {f"{name}.{part}": value for part, value in bound.items()}
        else:
            found[name] = bound
    return found


def changed(scenario: Scenario, part: str, **values: Any) -> Scenario:
    """Return it with other values in one of its tables."""
    inner = msgspec.structs.replace(getattr(scenario, part), **values)
    return msgspec.structs.replace(scenario, **{part: inner})


def _problems(scenario: Scenario) -> Iterator[tuple[str, str]]:
    users = scenario.users
    if users.count and users.per_second:
        yield "users", "either count or per_second, not both"
    if not (users.count or users.per_second or scenario.rest.per_second):
        yield "users", "nobody comes: set count, per_second, or rest.per_second"
    if scenario.rest.per_second and not sum(scenario.rest.mix.values()):
        yield "rest.mix", "all weights are 0"
    if scenario.strike is not None and scenario.server.instances < 2:
        yield "strike", "there has to be another instance: server.instances"
    if scenario.knee is not None and scenario.strike and not scenario.strike.again_s:
        yield "knee", "the next step needs the instance that is killed: strike.again_s"
    if scenario.knee is not None and not (users.count or users.per_second):
        yield "knee", "it needs users.count or users.per_second"
    for side in ("at_most", "at_least"):
        for figure in flat(getattr(scenario, side)):
            if not known(figure):
                yield f"{side}.{figure}", "there is no such figure"
