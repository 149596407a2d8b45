"""All that an installation keeps of people: its stores, its topics, and the files of its data folder. It has no index."""

from __future__ import annotations

from core.personal_data import TOPIC_HOLDINGS
from schemas import Holding
from state import HOLDINGS as STORE_HOLDINGS

FILE_HOLDINGS = (
    Holding(
        name="state",
        kind="file",
        user="The stores, where they are SQLite.",
        exported="What the stores say.",
        erased=(
            "What the stores say. Bytes of what was erased may stay in the file's free pages until they are used again; "
            "`sqlite3 FILE VACUUM` removes them. Backups are the operator's."
        ),
    ),
    Holding(
        name="kafka",
        kind="file",
        user="The topics, where the broker is the embedded one.",
        exported="What the topics say.",
        erased="What the topics say: segments are deleted as their records get too old.",
    ),
    Holding(
        name="logs",
        kind="file",
        user="Ids of tenants, users, threads and runs where something went wrong; no content of messages.",
        exported="Nothing.",
        erased="By the operator.",
    ),
    Holding(
        name="emulators",
        kind="file",
        user="Mail and tasks of the emulated services, which are made up, and what runs did there.",
        exported="Nothing: it takes the place of services of others, who have exports of their own.",
        erased="By the operator: remove the folder.",
    ),
    Holding(
        name="run",
        kind="file",
        exported="Nothing: ports and process ids.",
        erased="By the process, when it ends.",
    ),
    Holding(
        name="cauce.json",
        kind="file",
        exported="Nothing: ports and process ids of `cauce up`.",
        erased="By `cauce up`, when it ends.",
    ),
    Holding(name="lock", kind="file", exported="Nothing: it is empty.", erased="Never."),
)
"""Of the data folder, by the names in it."""

HOLDINGS = (*STORE_HOLDINGS.values(), *TOPIC_HOLDINGS, *FILE_HOLDINGS)
