"""All personal data that an installation keeps: its stores, its topics, and the files of its data folder. There is no index."""

from __future__ import annotations

from core.personal_data import TOPIC_HOLDINGS
from schemas import Holding
from state import HOLDINGS as STORE_HOLDINGS

FILE_HOLDINGS = (
    Holding(
        name="state",
        kind="file",
        user="The stores, where they are SQLite.",
        exported="See the stores.",
        erased=(
            "See the stores. What is erased is overwritten, and the file's log is cut off within seconds. Backups are the "
            "operator's."
        ),
    ),
    Holding(
        name="kafka",
        kind="file",
        user="The topics, where the broker is the embedded one.",
        exported="See the topics.",
        erased="See the topics: segments are deleted when their records expire.",
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
        user="Invented mail and tasks of the emulated services, and what runs did there.",
        exported="Nothing: it emulates external services, which have their own exports.",
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
    Holding(
        name="broker.password",
        kind="file",
        exported="Nothing: the password of the embedded broker.",
        erased="By the operator; `cauce up` makes another.",
    ),
    Holding(name="lock", kind="file", exported="Nothing: it is empty.", erased="Never."),
)
"""The holdings of the data folder, by file or folder name."""

HOLDINGS = (*STORE_HOLDINGS.values(), *TOPIC_HOLDINGS, *FILE_HOLDINGS)
