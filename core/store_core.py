"""`StoreCore`: the use cases that need only the stores, and so work whether or not anything else runs."""

from __future__ import annotations

from core.access import Access
from core.api_keys import ApiKeys
from core.audit_reader import AuditReader
from core.audit_writer import AuditWriter
from core.ends import Ends
from core.erasure import Erasures
from core.identities import Identities
from core.identity_providers import IdentityProviders
from core.installation_keys import InstallationKeys
from core.login_attempts import LoginAttempts
from core.principal import Principal
from core.quotas import QuotaLimits, Quotas
from core.run_reader import RunReader
from core.sessions import Sessions
from core.tenant_settings import Tenants
from core.thread_reader import ThreadReader
from core.user_items import UserItems
from core.user_settings import Users
from state import Stores


class StoreCore:
    """Everything that may be done for a principal with open stores alone."""

    threads: ThreadReader
    runs: RunReader

    def __init__(self, stores: Stores, quotas: QuotaLimits | None = None, *, trail: AuditWriter | None = None) -> None:
        """`trail` is where to tell what is done; kept for a gateway when absent."""
        self.trail = trail or AuditWriter(stores.timers)
        self.tenants = Tenants(stores.directory, self.trail)
        self.access = Access(stores.directory)
        self.users = Users(stores.directory, self.trail)
        self.keys = ApiKeys(stores.credentials, stores.directory, self.trail)
        self.sessions = Sessions(stores.credentials, self.trail)
        self.identities = Identities(stores.credentials, stores.directory, self.trail)
        self.providers = IdentityProviders(stores.directory, self.identities)
        self.login_attempts = LoginAttempts(InstallationKeys(stores.credentials))
        self.ends = Ends(stores, self.tenants, self.keys, self.sessions, self.trail)
        self.erasures = Erasures(stores, self.ends, self.trail)
        self.audit = AuditReader(stores.audit)
        self.quotas = Quotas(stores, quotas)
        self.items = UserItems(stores.items, self.quotas, self.trail)
        self.threads = ThreadReader(stores.journal)
        self.runs = RunReader(stores.journal, self.threads)

    async def ensure_owner(self, by: Principal, tenant_id: str, user_id: str) -> None:
        """Creates a tenant and its user unless they exist: the embedded system's own, at its first start."""
        await self.tenants.ensure(by, tenant_id)
        await self.users.ensure(by, tenant_id, user_id)
