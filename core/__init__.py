"""What all protocols share: agents, threads, runs, decisions and streams of one principal."""

from core.core import Core
from core.run_views import NewRun, RunView

__all__ = ["Core", "NewRun", "RunView"]
