"""What an administrator of the tenant does about its users and about the tenant itself: as `cauce user` and `cauce tenant`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from connectors.gateway.given_json import GivenJsonRoute
from connectors.gateway.permitted_routes import permitted
from connectors.gateway.protocols.v1.parameters import Caller, CoreIn
from core.api_keys import ApiKey
from core.permissions import Operation
from core.sessions import Session
from schemas import Tenant, TenantState, User
from schemas.ids import ID_PATTERN

router = APIRouter(
    prefix="/admin", tags=["admin"], route_class=GivenJsonRoute, dependencies=[permitted(Operation.ADMINISTER)]
)

UserId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of a user of the tenant.")]
ProviderName = Annotated[str, Path(pattern=ID_PATTERN, description="Name of an identity provider of the tenant.")]


class NewUser(BaseModel):
    """A user to add."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"user_id": "ana", "name": "Ana Ferrer"}]}
    )
    user_id: Annotated[str, Field(pattern=ID_PATTERN)]
    name: Annotated[str, Field(max_length=200)] = ""


class UserOut(BaseModel):
    """A user of the tenant that has settings."""

    user_id: str
    name: str
    time_zone: str | None
    created_at: datetime
    blocked: bool
    not_before: datetime | None

    @classmethod
    def of(cls, user: User) -> UserOut:
        """As the directory has it."""
        return cls(**user.model_dump(include=set(cls.model_fields)))


class UserList(BaseModel):
    """Users, by id."""

    users: list[UserOut]


class SessionOut(BaseModel):
    """A browser session."""

    id: str
    method: str
    created_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, row: tuple[str, Session]) -> SessionOut:
        """With the beginning of its id, which is no secret."""
        return cls(id=row[0], **row[1].model_dump(include={"method", "created_at", "expires_at"}))


class SessionList(BaseModel):
    """Sessions of a user."""

    sessions: list[SessionOut]


class KeyOut(BaseModel):
    """An API key, without its secret."""

    key_id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, key: ApiKey) -> KeyOut:
        """As it is stored."""
        return cls(**key.model_dump(include=set(cls.model_fields)))


class KeyList(BaseModel):
    """Keys of a user."""

    keys: list[KeyOut]


class TenantOut(BaseModel):
    """The tenant's state."""

    tenant_id: str
    name: str
    state: TenantState

    @classmethod
    def of(cls, tenant: Tenant) -> TenantOut:
        """As the directory has it."""
        return cls(tenant_id=tenant.tenant_id, name=tenant.name, state=tenant.state)


class ErasureOut(BaseModel):
    """How far an erasure is."""

    threads_left: int
    done: bool


@router.get("/users")
async def list_users(core: CoreIn, caller: Caller) -> UserList:
    """The users of the tenant that have settings."""
    return UserList(users=[UserOut.of(user) for user in await core.users.all(caller, caller.tenant_id)])


@router.post("/users", status_code=201)
async def add_user(core: CoreIn, caller: Caller, body: NewUser) -> UserOut:
    """Adds a user."""
    return UserOut.of(await core.ends.add_user(caller, caller.tenant_id, body.user_id, name=body.name))


@router.post("/users/{user_id}/block")
async def block_user(core: CoreIn, caller: Caller, user_id: UserId) -> UserOut:
    """No credential of the user counts any more, and what was begun for them ends."""
    return UserOut.of(await core.ends.block(caller, caller.tenant_id, user_id))


@router.post("/users/{user_id}/unblock")
async def unblock_user(core: CoreIn, caller: Caller, user_id: UserId) -> UserOut:
    """The user's credentials count again."""
    return UserOut.of(await core.ends.unblock(caller, caller.tenant_id, user_id))


@router.post("/users/{user_id}/sign-out")
async def sign_out_user(core: CoreIn, caller: Caller, user_id: UserId) -> UserOut:
    """Ends all sessions, keys and tokens that the user has now."""
    return UserOut.of(await core.ends.sign_out(caller, caller.tenant_id, user_id))


@router.get("/users/{user_id}/sessions")
async def list_sessions(core: CoreIn, caller: Caller, user_id: UserId) -> SessionList:
    """The user's browser sessions."""
    found = await core.ends.sessions(caller, caller.tenant_id, user_id)
    return SessionList(sessions=[SessionOut.of(row) for row in found])


@router.delete("/users/{user_id}/sessions", status_code=204)
async def end_sessions(core: CoreIn, caller: Caller, user_id: UserId) -> None:
    """Ends the user's browser sessions."""
    await core.sessions.end_all(caller, caller.tenant_id, user_id)


@router.get("/users/{user_id}/keys")
async def list_keys(core: CoreIn, caller: Caller, user_id: UserId) -> KeyList:
    """The user's API keys."""
    return KeyList(keys=[KeyOut.of(key) for key in await core.ends.keys(caller, caller.tenant_id, user_id)])


@router.delete("/users/{user_id}/keys", status_code=204)
async def revoke_keys(core: CoreIn, caller: Caller, user_id: UserId) -> None:
    """Revokes the user's API keys."""
    for key in await core.ends.keys(caller, caller.tenant_id, user_id):
        await core.keys.revoke(caller, caller.tenant_id, key.key_id)


@router.post("/tenant/pause")
async def pause_tenant(core: CoreIn, caller: Caller) -> TenantOut:
    """What is there can be read, and nothing else, until the tenant is resumed."""
    return TenantOut.of(await core.ends.pause(caller, caller.tenant_id))


@router.post("/tenant/resume")
async def resume_tenant(core: CoreIn, caller: Caller) -> TenantOut:
    """Ends a pause."""
    return TenantOut.of(await core.ends.resume(caller, caller.tenant_id))


@router.post("/tenant/close")
async def close_tenant(core: CoreIn, caller: Caller) -> TenantOut:
    """Nobody gets in any more, and what was begun ends. Only the operator of the installation can undo it."""
    return TenantOut.of(await core.ends.close(caller, caller.tenant_id))


@router.delete("/users/{user_id}", status_code=202)
async def erase_user(core: CoreIn, caller: Caller, user_id: UserId) -> ErasureOut:
    """Erases all that is kept of the user. It continues whatever happens; repeat the request to see how far it is."""
    return await _erased(core, caller, user_id)


@router.delete("/tenant", status_code=202)
async def erase_tenant(core: CoreIn, caller: Caller) -> ErasureOut:
    """Erases all that is kept of the tenant and its users, after which nobody gets in any more."""
    return await _erased(core, caller, None)


async def _erased(core: CoreIn, caller: Caller, user_id: str | None) -> ErasureOut:
    await core.erasures.request(caller, caller.tenant_id, user_id)
    progress = await core.erasures.progress(caller, caller.tenant_id, user_id)
    return ErasureOut(threads_left=progress.threads, done=progress.done)


@router.delete("/providers/{name}", status_code=204)
async def remove_provider(core: CoreIn, caller: Caller, name: ProviderName) -> None:
    """Nobody signs in with the provider any more, and what was begun with it ends."""
    await core.ends.remove_provider(caller, caller.tenant_id, name)
