"""Which names are time zones."""

from __future__ import annotations

import pytest

from schemas.zones import check_zone


@pytest.mark.parametrize("name", ["localtime", "posixrules", "Factory", "posix/Europe/Madrid", "right/Europe/Madrid"])
def test_a_name_that_means_the_machines_own_zone_or_no_place_is_no_time_zone(name: str) -> None:
    with pytest.raises(ValueError, match="is no time zone"):
        check_zone(name)


@pytest.mark.parametrize("name", ["Europe/Madrid", "Asia/Calcutta", "Etc/GMT+5", "EST", "utc"])
def test_old_names_and_fixed_offsets_are_time_zones(name: str) -> None:
    assert check_zone(name) == name
