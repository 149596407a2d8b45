"""The metrics, as they are defined, made and documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from cauce.metrics_table import put_into
from schemas import SettingsError
from schemas.common.metrics import GatewayMetrics, Metrics, RuntimeMetrics, all_metrics

DOCS = Path(__file__).parents[2] / "docs"


def test_the_table_in_the_documentation_is_that_of_the_definitions() -> None:
    page = (DOCS / "operations.md").read_text()
    assert page == put_into(page), "write it again with: cauce metrics --out docs/operations.md"


def test_the_documentation_names_no_other_metrics() -> None:
    known = {one.shown_name for metrics in all_metrics().values() for one in metrics}
    named = {name for page in DOCS.glob("*.md") for name in re.findall(r"`(cauce_[a-z_]+)", page.read_text())}
    assert named == known


def test_a_page_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(SettingsError, match="no markers"):
        put_into("# Operations\n")


@pytest.mark.parametrize("of", [RuntimeMetrics, GatewayMetrics])
def test_a_process_shows_every_metric_of_its_class_under_its_name(of: type[Metrics]) -> None:
    registry = CollectorRegistry()
    of(registry)
    shown = set(re.findall(r"^# TYPE (\S+) ", generate_latest(registry).decode(), re.MULTILINE))
    defined = {one.shown_name for metrics in all_metrics().values() for one in metrics if one in vars(of).values()}
    assert {name for name in shown if not name.endswith("_created")} == defined
