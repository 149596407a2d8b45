from __future__ import annotations

from pathlib import Path

import pytest

from deploy.cluster import fetch_jars, find_java
from deploy.cluster.java import java_version


@pytest.mark.parametrize(
    ("printed", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "21" 2023-09-19', 21),
        ('openjdk version "25-ea" 2025-09-16', 25),
        ('java version "1.8.0_412"', 8),
        ('Picked up _JAVA_OPTIONS: -Xmx1g\nopenjdk version "11.0.2" 2019-01-15', 11),
        ("bash: java: command not found", None),
    ],
)
def test_java_version_is_read_from_what_java_prints(printed: str, version: int | None) -> None:
    assert java_version(printed) == version


def test_the_java_found_is_a_program() -> None:
    assert find_java().is_file()


def test_jars_that_were_fetched_are_found_without_maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pom = Path("deploy/cluster/kafka/pom.xml").resolve()
    jars = fetch_jars(pom)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert fetch_jars(pom) == jars
    assert list(jars.glob("kafka-clients-*.jar"))
