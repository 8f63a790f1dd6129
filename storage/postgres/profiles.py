"""What users tell about themselves, in PostgreSQL."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from protocol.plan import Language, Minutes, RoleTitle
from protocol.scalars import Difficulty, InterviewType, Level, Milliseconds, Mode
from storage.postgres.pool import Connection, Database
from storage.postgres.queries import query
from storage.postgres.records import decoded

PersonName = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"\A[^\x00]*\Z")]


class Preferences(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a user's interviews are like unless they ask otherwise; each may be left open."""

    type: InterviewType | None = None
    role: RoleTitle | None = None
    level: Level | None = None
    difficulty: Difficulty | None = None
    mode: Mode | None = None
    duration_minutes: Minutes | None = None


class PreferencesPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes to preferences: what is absent stays, null takes it away."""

    type: InterviewType | UnsetType | None = UNSET
    role: RoleTitle | UnsetType | None = UNSET
    level: Level | UnsetType | None = UNSET
    difficulty: Difficulty | UnsetType | None = UNSET
    mode: Mode | UnsetType | None = UNSET
    duration_minutes: Minutes | UnsetType | None = UNSET


class ProfilePatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes to a profile, as a merge patch (RFC 7396): absent stays, null takes it away."""

    name: PersonName | UnsetType | None = UNSET
    language: Language | UnsetType | None = UNSET
    preferences: PreferencesPatch | UnsetType | None = UNSET


class Profile(Struct, frozen=True, kw_only=True):
    """What a user told. ``version`` counts the changes; 0: nothing was told yet."""

    name: str | None = None
    language: str | None = None
    preferences: Preferences = Preferences()
    version: int = 0
    updated_at: Milliseconds | None = None


_preferences = msgspec.json.Decoder(Preferences)


class Profiles:
    """Every method may raise `BackendDownError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, user_id: str) -> Profile:
        """Return a user's profile from the primary; an empty one where nothing was told."""

        async def find(connection: Connection) -> Profile:
            cursor = await connection.execute(query("find_profile"), {"user_id": user_id})
            row = await cursor.fetchone()
            return Profile() if row is None else _profile(row)

        return await self._database.read(find)

    async def change(self, user_id: str, patch: ProfilePatch, at: int) -> Profile:
        """Merge a patch into a user's profile and return it; repeating it counts once more."""
        preferences = patch.preferences or PreferencesPatch()
        values: dict[str, Any] = {
            "user_id": user_id,
            "name": patch.name or None,
            "language": patch.language or None,
            "preferences": msgspec.json.encode(preferences).decode(),
            "renames": patch.name is not UNSET,
            "translates": patch.language is not UNSET,
            "resets": patch.preferences is None,
            "at": at,
        }

        async def put(connection: Connection) -> Profile:
            row = await (await connection.execute(query("put_profile"), values)).fetchone()
            assert row is not None, "an upsert returns its row"  # noqa: S101
            return _profile(row)

        return await self._database.write(put)


def _profile(row: Sequence[Any]) -> Profile:
    name, language, preferences, version, updated_at = row
    return Profile(
        name=name,
        language=language,
        preferences=decoded(_preferences, preferences),
        version=version,
        updated_at=updated_at,
    )
