"""What all protocols share: agents, threads, runs, decisions and streams of one principal."""

from connectors.gateway.core.core import Core
from connectors.gateway.core.run_views import NewRun, RunView

__all__ = ["Core", "NewRun", "RunView"]
