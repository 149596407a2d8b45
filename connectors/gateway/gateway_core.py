"""The use cases as the gateway's protocols have them: with the states of hosted graphs, and its own limits and metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from connectors.gateway.few_at_a_time import FewAtATime
from connectors.gateway.gateway_options import GatewayOptions
from connectors.graphs import Graphs
from connectors.graphs.graph_states import GraphStates
from core import Core
from core.bounded_items import BoundedItems
from core.following.feed import Feed
from core.ingress import Ingress
from core.principal import Principal
from core.refusals import Limited
from schemas.common.metrics import GatewayMetrics
from state import Stores


class GatewayCore(Core):
    """Everything that a protocol may do for a principal."""

    def __init__(
        self,
        stores: Stores,
        ingress: Ingress,
        feed: Feed,
        options: GatewayOptions,
        metrics: GatewayMetrics,
        graphs: Graphs,
    ) -> None:
        super().__init__(stores, ingress, feed, options, graphs)
        self.options, self.metrics = options, metrics
        self.graphs = GraphStates(
            stores.journal, BoundedItems(stores.items, self.quotas), graphs, self.changes, self.assistant
        )
        self.large_answers = FewAtATime()
        self._streams: Counter[str | tuple[str, str]] = Counter()
        """Open streams and waits, by tenant and by user."""

    def count_stream(self, principal: Principal) -> Callable[[str | None], None]:
        """Counts a stream of the user, or a request that waits for a run; what it returns is to be called at its end, with the
        code of what cut it off.

        Raises `Limited` when there are too many.
        """
        who, tenant = (principal.tenant_id, principal.user_id), principal.tenant_id
        if self._streams[who] >= self.options.streams_per_user:
            detail = f"You have {self._streams[who]} open streams and waits already; close one first."
            raise Limited("too_many_streams", detail, retry_after=5)
        if self._streams[tenant] >= self.options.streams_per_tenant:
            detail = (
                f"Your organisation has {self._streams[tenant]} open streams and waits here already; try again soon."
            )
            raise Limited("too_many_streams", detail, retry_after=5)
        self._streams[who] += 1
        self._streams[tenant] += 1
        self.metrics.streams.inc()

        def end(cut: str | None = None) -> None:
            self.metrics.streams.dec()
            if cut:
                self.metrics.cut.labels(cut).inc()
            for whose in (who, tenant):
                self._streams[whose] -= 1
                if not self._streams[whose]:
                    del self._streams[whose]

        return end

    @contextmanager
    def counted_stream(self, principal: Principal) -> Iterator[Callable[[str | None], None]]:
        """As `count_stream`, before the block starts a run: one that could not be followed must not be started. A block that
        raises opens no stream."""
        end = self.count_stream(principal)
        try:
            yield end
        except BaseException:
            end(None)
            raise
