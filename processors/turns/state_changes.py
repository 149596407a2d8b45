"""Changes of a graph's state that no leg makes: a person writes to it, or it goes back to where it was before a run."""

from __future__ import annotations

import asyncio
import logging

from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot

from connectors.foreign import contained, error_text
from connectors.graphs import UPDATE, Graphs, Owner, StagingSaver, UserStore, own_threads, place, rows_of, run_config
from processors.turns.graph_messages import new_messages
from processors.turns.graph_state import changed_by_hand, interrupts_of, missing_graph, restore
from schemas import GraphRequest, RunLimits, ServerTrouble, SettingsError, UpdateState
from state import ItemStore, Journal
from threads.draft import Draft
from threads.graph_transitions import add_messages, state_updated, too_large_to_ask
from threads.transitions import Next, complete_run, refuse

log = logging.getLogger("cauce.turns")


class StateChanges:
    """What happens to the states of hosted graphs between their legs."""

    def __init__(self, graphs: Graphs, journal: Journal, items: ItemStore, *, limits: RunLimits | None = None) -> None:
        self._graphs, self._journal, self._items = graphs, journal, items
        self._limits = limits or RunLimits()

    async def restore(self, draft: Draft) -> None:
        """Restores the state of the checkpoint that the draft names, if it names one."""
        if draft.restore is not None:
            saver = StagingSaver(rows_of(self._journal, *draft.thread), next_row=draft.head.next_row)
            await restore(saver, draft.thread.thread_id, draft.restore)
            draft.rows = (*draft.rows, *saver.staged())
            draft.count_rows(saver.next_row)
            draft.restore = None

    async def update(self, draft: Draft, update: UpdateState) -> Next:
        """Changes the state of a thread by hand, or says why it cannot be."""
        run, thread_id = draft.head.run, draft.thread.thread_id
        if draft.head.deleted:
            return refuse(draft, "the thread was deleted")
        if run and not run.paused:
            return refuse(draft, "a run is active; the state can be changed when it is over or waits")
        known = {name: getattr(update, name) for name in ("graph", "checkpoint_id", "config", "context", "permissions")}
        config = run_config(
            GraphRequest(**known),
            thread_id=thread_id,
            assistant_id=update.agent_id,
            tenant_id=draft.thread.tenant_id,
            user_id=update.user_id,
            request_id=draft.input_id,
        )
        saver = StagingSaver(rows_of(self._journal, *draft.thread), next_row=draft.head.next_row)
        store = UserStore(self._items, draft.thread.tenant_id, update.user_id)

        async def updated() -> tuple[StateSnapshot, RunnableConfig, StateSnapshot]:
            own_threads(Owner(draft.thread.tenant_id, draft.input_id))
            hosted = await self._graphs.get(update.graph)
            async with hosted.bound(saver=saver, store=store, config=config, access=UPDATE) as graph:
                before = await graph.aget_state(place(thread_id, update.checkpoint_id))
                changed = await changed_by_hand(graph, config, update)
                return before, changed, await graph.aget_state(place(thread_id), subgraphs=True)

        try:
            async with asyncio.timeout(self._limits.seconds):
                before, changed, after = await contained(updated())
        except ServerTrouble:
            raise
        except SettingsError as error:
            return refuse(draft, missing_graph(update.graph, error))
        except Exception as error:
            log.info("the state of %s was not changed", draft.thread, exc_info=error)
            return refuse(draft, error_text(error))
        asked = interrupts_of(after)
        if problem := too_large_to_ask(draft, asked):
            return refuse(draft, problem)
        draft.rows = saver.staged()
        draft.count_rows(saver.next_row)
        checkpoint_id = changed["configurable"]["checkpoint_id"]
        state_updated(draft, checkpoint_id, asked, graph=update.graph, agent_id=update.agent_id)
        run_id = run.run_id if run else draft.input_id
        add_messages(draft, new_messages(before.values, after.values, run_id=run_id, at=draft.now))
        if run and not after.next:  # no question is open any more
            complete_run(draft, None)
        return Next.COMMIT
