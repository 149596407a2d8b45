"""Browser sessions: an opaque cookie, everything else on the server. And the one-time links that begin one."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Collection
from datetime import datetime, timedelta

from pydantic import BaseModel

from core.audit_writer import AuditWriter
from core.principal import SCOPES, Principal
from schemas import Action, Timestamp, is_tenant_id
from schemas.common.clock import utc_now
from schemas.common.recent import Recent
from state import Credentials, readable

KIND = "session"
LINK_KIND = "login_link"
SEEN_KIND = "session_seen"
"""Beside a session: it was used not long ago. A row of its own, so that noting it cannot bring back a session that was ended."""
LIFETIME = timedelta(hours=12)
"""A session's longest life. Whoever signs in again has a new one; a provider that still knows its user asks nothing."""
IDLE = timedelta(hours=2)
"""A session that was not used for so long has ended."""
_PARTS = 8
"""A use is noted once in this part of the idle time."""
_NOTED = 10_000
LINK_LIFETIME = timedelta(minutes=15)
BY_PROVIDER = "oidc:"
"""The method of a session that a provider vouched for, with the provider's name."""
UNKNOWN_SECONDS = 5.0
"""How long a cookie that belongs to no session is known without asking the store."""
_UNKNOWN = 10_000
SHOWN = 12
"""Digits of a session's id that are shown: they name it, and open nothing."""


class Session(BaseModel):
    """A session as the store has it; its id there is the hash of the cookie's secret."""

    user_id: str
    created_at: Timestamp
    expires_at: Timestamp
    method: str
    scopes: tuple[str, ...] = SCOPES


class Sessions:
    """Begins, finds and ends sessions."""

    def __init__(
        self, store: Credentials, trail: AuditWriter, *, lifetime: timedelta = LIFETIME, idle: timedelta = IDLE
    ) -> None:
        self._store, self._trail, self.lifetime, self._idle = store, trail, lifetime, idle
        self._noted: Recent[str, datetime] = Recent(_NOTED)
        self._unknown: Recent[str, float] = Recent(_UNKNOWN)

    async def link(self, by: Principal, tenant_id: str, user_id: str, *, lifetime: timedelta = LINK_LIFETIME) -> str:
        """A secret that begins one session of this user, once. For the tenant's administrators."""
        by.require_over(tenant_id)
        secret = f"{tenant_id}.{secrets.token_urlsafe(32)}"
        await self._store.put(tenant_id, LINK_KIND, _id(secret), user_id.encode(), expires=utc_now() + lifetime)
        await self._trail.write(by, Action.LOGIN_LINK_MADE, tenant_id=tenant_id, user_id=user_id)
        return secret

    async def whose(self, link: str) -> tuple[str, str] | None:
        """Tenant and user of a link that can still be redeemed; does not use it up."""
        tenant_id = link.partition(".")[0]
        user_id = await self._store.get(tenant_id, LINK_KIND, _id(link)) if is_tenant_id(tenant_id) else None
        return (tenant_id, user_id.decode()) if user_id else None

    async def redeem(self, link: str) -> str | None:
        """Begins the session of a link; None for one that is wrong, used or expired. Returns the cookie's value."""
        tenant_id = link.partition(".")[0]
        if not is_tenant_id(tenant_id):
            return None
        user_id = await self._store.take(tenant_id, LINK_KIND, _id(link))
        return await self.begin(tenant_id, user_id.decode(), method="link") if user_id else None

    async def begin(self, tenant_id: str, user_id: str, *, method: str, scopes: Collection[str] = SCOPES) -> str:
        """A new session with a new id; returns the cookie's value."""
        cookie, now = f"{tenant_id}.{secrets.token_urlsafe(32)}", utc_now()
        session = Session(
            user_id=user_id, created_at=now, expires_at=now + self.lifetime, method=method, scopes=tuple(scopes)
        )
        body = session.model_dump_json().encode()
        await self._store.put(tenant_id, KIND, _id(cookie), body, expires=session.expires_at)
        await self._tell(tenant_id, _id(cookie), session, Action.SESSION_BEGUN)
        return cookie

    async def find(self, cookie: str) -> Principal | None:
        """Whose session a cookie is; counts as a use of it."""
        tenant_id = cookie.partition(".")[0]
        if not is_tenant_id(tenant_id):
            return None
        session_id, now = _id(cookie), time.monotonic()
        if self._unknown.get(session_id, float("-inf")) + UNKNOWN_SECONDS > now:
            return None
        body = await self._store.get(tenant_id, KIND, session_id)
        if body is None:
            self._unknown[session_id] = now
            return None
        session = _session(tenant_id, session_id, body)
        if session is None or not await self._lives(tenant_id, session_id, session):
            return None
        scopes = frozenset(session.scopes) & frozenset(SCOPES)
        return Principal(
            tenant_id,
            session.user_id,
            scopes,
            "session",
            credential_id=session_id[:SHOWN],
            expires=self._end_of(session),
            issued=session.created_at,
            provider=session.method.removeprefix(BY_PROVIDER) if session.method.startswith(BY_PROVIDER) else "",
            again=lambda: self.find(cookie),
        )

    def _end_of(self, session: Session) -> datetime:
        """An older version gave sessions longer lives."""
        return min(session.expires_at, session.created_at + self.lifetime)

    async def _lives(self, tenant_id: str, session_id: str, session: Session) -> bool:
        """Whether it has neither come to its end nor been idle for too long; removes it otherwise."""
        now = utc_now()
        used, often = self._noted.get(session_id, session.created_at), self._idle / _PARTS
        if now < self._end_of(session):
            if now - used < often:
                return True
            if now - used < self._idle or await self._store.get(tenant_id, SEEN_KIND, session_id) is not None:
                body = json.dumps({"user_id": session.user_id}).encode()
                await self._store.put(tenant_id, SEEN_KIND, session_id, body, expires=now + self._idle)
                self._noted[session_id] = now
                return True
        await self._store.take(tenant_id, KIND, session_id)
        return False

    async def end(self, cookie: str) -> Session | None:
        """Ends a session; returns what it was."""
        tenant_id = cookie.partition(".")[0]
        body = await self._store.take(tenant_id, KIND, _id(cookie)) if is_tenant_id(tenant_id) else None
        ended = _session(tenant_id, _id(cookie), body) if body else None
        if ended:
            await self._tell(tenant_id, _id(cookie), ended, Action.SESSION_ENDED)
        return ended

    async def _tell(self, tenant_id: str, session_id: str, session: Session, action: Action) -> None:
        """What a browser's user did to their own session."""
        named = f"session:{session_id[:SHOWN]}"
        about = {"actor": f"user:{session.user_id}", "user_id": session.user_id, "credential": named}
        await self._trail.write_event(tenant_id, action, **about, details={"method": session.method})

    async def of(self, by: Principal, tenant_id: str, user_id: str) -> list[tuple[str, Session]]:
        """The sessions of a user, by the beginnings of their ids, for the tenant's administrators."""
        by.require_over(tenant_id)
        found = [(row, _session(tenant_id, row, body)) for row, body in await self._store.list(tenant_id, KIND)]
        return [(row[:SHOWN], session) for row, session in found if session and session.user_id == user_id]

    async def end_all(self, by: Principal, tenant_id: str, user_id: str | None = None, *, provider: str = "") -> int:
        """Ends the sessions of a user, and the links that would begin one; or those that a provider vouched for. How many."""
        by.require_over(tenant_id)
        ended = 0
        for row, body in await self._store.list(tenant_id, KIND):
            session = _session(tenant_id, row, body)
            if session and (session.user_id == user_id or (provider and session.method == f"{BY_PROVIDER}{provider}")):
                ended += await self._store.take(tenant_id, KIND, row) is not None
                about = {"user_id": session.user_id, "subject": f"session:{row[:SHOWN]}"}
                await self._trail.write(by, Action.SESSION_ENDED, tenant_id=tenant_id, **about)
        for row, body in await self._store.list(tenant_id, LINK_KIND) if user_id else ():
            if body.decode(errors="replace") == user_id:
                await self._store.take(tenant_id, LINK_KIND, row)
        return ended


def _session(tenant_id: str, session_id: str, body: bytes) -> Session | None:
    """What is stored; None, and a line in the log, where that cannot be read: its user logs in again."""
    name = f"the session {session_id[:SHOWN]} of {tenant_id}"
    return next(readable([body], Session.model_validate_json, lambda _: name), None)


def _id(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
