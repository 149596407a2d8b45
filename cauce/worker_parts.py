"""The dependencies of a worker's processors, created from the settings: see `processors.group.Parts`."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from cauce.hosting import Served, hosting_of
from cauce.settings import Settings
from connectors.models import OUTPUT_TOKENS, Detected, ModelCache, ModelChoice, detect_model
from connectors.toolsets import Toolsets, made_toolsets
from core.bounded_items import BoundedItems
from core.quotas import QuotaLimits, Quotas
from processors.settings_cache import TenantCache
from schemas import AgentSettings, Output, SettingsError, Tenant
from state import ItemStore, Stores

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from connectors.graphs import Graphs
    from schemas.common.metrics import RuntimeMetrics

log = logging.getLogger("cauce.worker")


class WorkerParts:
    """Each part is created at first use. Call `close` when the processors are done."""

    def __init__(
        self, settings: Settings, stores: Stores, metrics: RuntimeMetrics, emit: Callable[[Output], None]
    ) -> None:
        self._settings, self.stores, self._metrics, self._emit = settings, stores, metrics, emit
        self.model = Detected(ModelChoice(settings.model), "")
        """The model of agents that name none; until `models` is first used, the value in the settings."""
        self.served = Served()
        """The hosted graphs, and what is not served and why."""
        self._graphs: Graphs | None = None

    @cached_property
    def items(self) -> ItemStore:
        """See `Parts`."""
        return BoundedItems(self.stores.items, Quotas(self.stores, QuotaLimits(**self._settings.quota.model_dump())))

    @cached_property
    def tenants(self) -> TenantCache:
        """See `Parts`."""
        return TenantCache(self.stores.directory)

    @cached_property
    def toolsets(self) -> Toolsets:
        """See `Parts`."""
        return made_toolsets(self._settings.connectors)

    async def graphs(self) -> Graphs:
        """See `Parts`. Logs what is not served."""
        if self._graphs is None:
            from connectors.graphs import GraphThreads

            asyncio.get_running_loop().set_default_executor(GraphThreads(self._settings.graph_threads))
            hosting = hosting_of(self._settings)
            hosting.set_environment()
            graphs = self._graphs = hosting.graphs(threads=self._settings.graph_threads)
            missing = await graphs.missing()
            names = tuple(name for name in graphs.names if name not in missing)
            self.served = Served(names, (*missing.values(), *hosting.not_served))
            for reason in self.served.not_served:
                log.error("not served: %s", reason)
        return self._graphs

    async def models(self) -> Callable[[Tenant, AgentSettings], BaseChatModel]:
        """See `Parts`."""
        await self.graphs()  # hosted applications may set variables that name the models
        settings = self._settings
        if settings.model == "auto":
            self.model = await detect_model(os.environ, url=settings.model_url)
            log.info("model for agents that name none: %s (%s)", self.model.choice.name, self.model.why)
        else:
            self.model = Detected(ModelChoice(settings.model, settings.model_url), "from the settings")
        return model_for(self.model.choice)

    def emit(self, output: Output) -> None:
        """See `Parts`."""
        self._emit(output)

    def observe(self, stage: str, seconds: float) -> None:
        """See `Parts`."""
        self._metrics.stage_seconds.labels(stage).observe(seconds)

    async def close(self) -> None:
        """Closes connections."""
        if "toolsets" in self.__dict__:
            await self.toolsets.close()


def model_for(
    default: ModelChoice, environment: Mapping[str, str] = os.environ
) -> Callable[[Tenant, AgentSettings], BaseChatModel]:
    """Creates the chat models of agents; `default` is used where the model is `auto`."""
    cache = ModelCache()

    def choose(tenant: Tenant, agent: AgentSettings) -> BaseChatModel:
        wanted = agent.model
        output = wanted.max_output_tokens
        if agent.limits.tokens < (output or OUTPUT_TOKENS):
            output = agent.limits.tokens  # no answer may be longer than the limit of the whole run
        if wanted.name == "auto":
            return cache.get(None, replace(default, max_output_tokens=output) if output else default)
        key = None
        if wanted.api_key_env:
            key = environment.get(wanted.api_key_env)
            if not key:
                raise SettingsError(
                    f"the environment variable {wanted.api_key_env} of the agent's API key is not set where the worker "
                    "runs; set it and restart the worker, or use no key with: cauce tenant set TENANT --api-key-env ''"
                )
        choice = ModelChoice(wanted.name, wanted.base_url, key, wanted.temperature, output)
        return cache.get(tenant.tenant_id, choice)

    return choose
