"""Tools: calls that turns ask for, made at most once through Arcade, with a ledger before and after."""

from processors.tools.processor import ToolsProcessor

__all__ = ["ToolsProcessor"]
