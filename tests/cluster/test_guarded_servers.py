"""Kafka with TLS, passwords, client certificates and access control lists, and Cassandra with TLS and passwords: each process of
the pipeline as a user of its own, and what is said to one that is not let in."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from waiting import until
from worker_processes import OnServers

from connectors.emulators import EmulatorProcess
from deploy.cluster import CassandraServer, KafkaServer
from deploy.cluster.guard import Guard

ROLES = ("turns", "tools", "audit", "gateway", "operator", "chat-client")
WRONG = "not-the-passw0rd"


class Closed:
    """The servers, and for each role the commands that it runs."""

    def __init__(self, folder: Path, guard: Guard, kafka: KafkaServer, cassandra: CassandraServer, arcade: Any) -> None:
        self._folder, self._guard, self._kafka, self._cassandra, self._arcade = folder, guard, kafka, cassandra, arcade
        self._mine = guard.authority.issue("cauce")

    def as_(self, role: str, **settings: str) -> OnServers:
        """As this user of Kafka; files are given as an operator does."""
        password = self._folder / f"{role}.password"
        password.write_text(f"{self._guard.users[role]}\n")
        access = {
            f"CAUCE_{server}_{name}": value
            for server in ("KAFKA", "CASSANDRA")
            for name, value in (
                *(("TLS", "true"), ("CA_FILE", str(self._guard.authority.ca))),
                *(("CERT_FILE", str(self._mine.chain)), ("KEY_FILE", str(self._mine.key))),
            )
        }
        given = {
            **access,
            "CAUCE_KAFKA": self._kafka.bootstrap,
            "CAUCE_KAFKA_USER": role,
            "CAUCE_KAFKA_PASSWORD_FILE": str(password),
            "CAUCE_CASSANDRA": f"{self._cassandra.contact_point}:{self._cassandra.port}",
            "CAUCE_CASSANDRA_USER": "cassandra",
            "CAUCE_CASSANDRA_PASSWORD": "cassandra",
            "CAUCE_MODEL": "rules",
            "CAUCE_ARCADE_URL": self._arcade.base_url,
            "ARCADE_API_KEY": self._arcade.api_key,
            **settings,
        }
        return OnServers(self._folder, **{name: value for name, value in given.items() if value})


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    """Servers that are there for this module, with topics, tables, access control lists and a tenant."""
    folder = tmp_path_factory.mktemp("closed")
    guard = Guard(folder / "guard", {role: f"secret-of-{role}" for role in ("admin", *ROLES)}, client_certificates=True)
    kafka = KafkaServer(folder / "kafka", guard=guard)
    cassandra = CassandraServer(folder / "cassandra", guard=guard, survives_kill=False)
    emulators = EmulatorProcess(folder / "emulators")
    with ThreadPoolExecutor(2) as pool, asyncio.Runner() as runner, ExitStack() as stack:
        for server in (kafka, cassandra):
            stack.callback(server.kill)
        runner.run(emulators.start())
        stack.callback(lambda: runner.run(emulators.stop()))
        starting = [pool.submit(server.start) for server in (kafka, cassandra)]
        for one in starting:
            one.result()
        servers = Closed(folder, guard, kafka, cassandra, emulators)
        allowed = servers.as_("admin").told("topics", "acls", "--apply")
        assert "allowed: " in allowed
        for command in ("topics apply", "state migrate", "tenant add home"):
            servers.as_("operator").told(*command.split())
        yield servers


async def _talk(url: str, key: str) -> None:
    async with httpx.AsyncClient(
        base_url=url, headers={"x-api-key": key}, timeout=120, trust_env=False, verify=False
    ) as ana:
        thread = (await ana.post("/v1/threads", json={})).json()["thread_id"]
        asked = {"text": "create a task to call Ana tomorrow"}
        paused = (await ana.post(f"/v1/threads/{thread}/runs/wait", json=asked)).json()
        (approval,) = paused["approvals"]
        path = f"/v1/threads/{thread}/approvals/{approval['call_id']}"
        assert (await ana.post(path, json={"decision": "approve"})).is_success
        done = (await ana.get(f"/v1/threads/{thread}/runs/{paused['run_id']}/join")).json()
        assert done["status"] == "completed", done


def test_each_process_works_as_a_user_that_may_do_no_more_than_its_role(closed: Closed) -> None:
    with ExitStack() as stack:
        gateway = subprocess.Popen(
            [sys.executable, "-m", "cauce", "gateway", "--port", "0"],
            env=closed.as_("gateway").environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        stack.callback(gateway.wait)
        stack.callback(gateway.kill)
        workers = [closed.as_(group).worker(group) for group in ("turns", "tools", "audit")]
        for worker in workers:
            stack.callback(worker.kill)
        assert gateway.stdout
        stack.callback(gateway.stdout.close)
        url = gateway.stdout.readline().split()[-1]
        until(lambda: all(worker.is_ready() for worker in workers), shown=lambda: [worker.state for worker in workers])
        operator = closed.as_("operator")
        key = operator.told("tenant", "key", "create", "home", "--user", "ana").strip()
        asyncio.run(_talk(url, key))
        until(lambda: "tool.executed" in operator.told("audit", "export"))

        found = operator.cauce("doctor", "--json")
        verdicts = {one["subject"]: one for one in json.loads(found.stdout)}
        assert verdicts["Kafka"]["verdict"] == verdicts["Store"]["verdict"] == "ok", verdicts
        assert not any(
            secret in found.stdout + found.stderr
            for secret in ("secret-of-", closed.as_("tools").environment["ARCADE_API_KEY"])
        )


def test_who_is_not_let_in_is_told_why_and_no_password(closed: Closed) -> None:
    wrong = {"CAUCE_KAFKA_PASSWORD": WRONG, "CAUCE_KAFKA_PASSWORD_FILE": ""}
    files = {"CAUCE_KAFKA_CERT_FILE": "", "CAUCE_KAFKA_KEY_FILE": ""}
    without_tls = {"CAUCE_KAFKA_TLS": "", "CAUCE_KAFKA_CA_FILE": "", **files}
    for role, settings, command, code, words in (
        ("operator", wrong, "topics show", 2, "refuses the name or the password of the user operator"),
        ("turns", wrong, "work turns", 2, "refuses the name or the password of the user turns"),
        ("operator", {"CAUCE_KAFKA_MECHANISM": "PLAIN"}, "topics show", 2, "kafka_mechanism"),
        ("operator", {"CAUCE_KAFKA_CA_FILE": ""}, "topics show", 2, "not trusted"),
        ("operator", files, "topics show", 2, "kafka_cert_file"),
        ("operator", without_tls, "topics show", 2, "kafka_tls"),
        ("operator", {"CAUCE_CASSANDRA_PASSWORD": WRONG}, "state status", 2, "cassandra_password_file"),
        ("operator", {"CAUCE_CASSANDRA_CA_FILE": ""}, "state status", 2, "cassandra_ca_file"),
        ("gateway", {}, "topics apply", 1, "does not allow the user gateway"),
        ("gateway", {}, "topics grow 96", 1, "does not allow the user gateway"),
        ("chat-client", {}, "dlq list", 1, "does not allow the user chat-client"),
    ):
        done = closed.as_(role, **settings).cauce(*command.split())
        assert (done.returncode, words in done.stderr) == (code, True), (
            f"{command} {settings}: {done.returncode} {done.stderr}"
        )
        assert WRONG not in done.stderr
        assert "secret-of" not in done.stderr
