"""The stores in one SQLite file, for one machine: several processes may share it, and nothing has to be installed.

One thread writes (`writer`), a few read (`readers`); what the rows mean is in one module a store.
"""

from state.sqlite.stores import SqliteStores, from_url

__all__ = ["SqliteStores", "from_url"]
