"""The gateway speaks TLS itself on both of its ports, and says what is wrong with its files before it listens."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import httpx
import pytest
from door import Door, Gateway
from forked_commands import run_command

from connectors.gateway.settings import GatewaySettings
from deploy.cluster.certificates import Authority
from deploy.cluster.process import free_port
from schemas import SettingsError


def _version(ca: Path, port: int, only: ssl.TLSVersion | None = None) -> str | None:
    """The TLS that the two sides agree on."""
    context = ssl.create_default_context(cafile=ca)
    if only:
        context.minimum_version = context.maximum_version = only
    with (
        socket.create_connection(("127.0.0.1", port), 120) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as it,
    ):
        return it.version()


async def test_both_ports_speak_tls_and_nothing_else(embedded: Door, tmp_path: Path) -> None:
    authority, second = Authority(tmp_path / "authority"), free_port()
    mine = authority.issue("gateway")
    given = {
        **embedded.environment,
        "CAUCE_GATEWAY_CERT_FILE": str(mine.chain),
        "CAUCE_GATEWAY_KEY_FILE": str(mine.key),
        "CAUCE_GATEWAY_LANGGRAPH_PORT": str(second),
    }
    key = embedded.key("home", "tea")
    gateway = Gateway(given, tmp_path / "gateway.log")
    try:
        assert gateway.url.startswith("https://127.0.0.1:")
        first = int(gateway.url.rpartition(":")[2])
        trusting = ssl.create_default_context(cafile=authority.ca)
        for port, path in ((first, "/v1/me"), (second, "/ok")):
            async with httpx.AsyncClient(verify=trusting, trust_env=False, timeout=120) as client:
                answer = await client.get(f"https://127.0.0.1:{port}{path}", headers={"x-api-key": key})
                assert answer.status_code == 200
                with pytest.raises(httpx.TransportError):
                    await client.get(f"http://127.0.0.1:{port}{path}")
            assert _version(authority.ca, port) == "TLSv1.3"
            assert _version(authority.ca, port, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    finally:
        gateway.kill()


def test_old_tls_is_refused_and_the_oldest_may_be_the_newest(tmp_path: Path) -> None:
    mine = Authority(tmp_path / "authority").issue("gateway")
    usual = GatewaySettings(cert_file=mine.java_pem).tls_context()
    newest = GatewaySettings(cert_file=mine.chain, key_file=mine.key, tls_minimum="1.3").tls_context()
    assert usual
    assert usual.minimum_version == ssl.TLSVersion.TLSv1_2
    assert newest
    assert newest.minimum_version == ssl.TLSVersion.TLSv1_3
    assert GatewaySettings().tls_context() is None


def test_files_that_cannot_be_used_are_named_with_the_reason(embedded: Door, tmp_path: Path) -> None:
    mine, other = (Authority(tmp_path / name).issue("gateway") for name in ("a", "b"))
    (tmp_path / "no.pem").write_text("nothing")
    for settings, words in (
        (GatewaySettings(cert_file=tmp_path / "none.pem"), "none.pem .* No such file"),
        (GatewaySettings(cert_file=tmp_path / "no.pem"), "no.pem .* it is no PEM file"),
        (GatewaySettings(cert_file=mine.chain), "it is no PEM file with what is needed"),
        (GatewaySettings(cert_file=mine.chain, key_file=other.key), "do not belong together"),
        (GatewaySettings(key_file=mine.key), "gateway_key_file has no use"),
    ):
        with pytest.raises(SettingsError, match=words):
            settings.tls_context()
    given = {**embedded.environment, "CAUCE_GATEWAY_CERT_FILE": str(tmp_path / "none.pem")}
    done = run_command(("gateway", "--port", "0"), given, tmp_path)
    assert (done.returncode, "none.pem" in done.stderr) == (2, True), done.stderr
