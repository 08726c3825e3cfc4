"""A token is kept where only its owner reads it, and goes only to the server it was kept for."""

from __future__ import annotations

import stat

import pytest

from airboss.faces.cli import config
from airboss.faces.cli.exit_codes import Exit
from airboss.faces.cli.problems import Problem


def test_what_is_kept_is_found_again_and_only_ours():
    """The file has mode 0600 from the moment it is made."""
    path = config.write("https://airboss.example/", "abt_secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = config.read()
    assert (found.server, found.token) == ("https://airboss.example", "abt_secret")


def test_a_kept_token_goes_to_no_other_server():
    """Naming another server does not hand it the token of the first."""
    config.write("https://airboss.example", "abt_secret")
    assert config.read(server="https://evil.example").token is None
    assert config.read(server="https://airboss.example/").token == "abt_secret"


def test_the_environment_comes_first(monkeypatch):
    """A token given to this run is used instead of the kept one."""
    config.write("https://airboss.example", "abt_kept")
    assert config.read(token="abt_given").token == "abt_given"


def test_a_file_others_can_read_is_refused():
    """A token that may have leaked is not used in silence."""
    path = config.write("https://airboss.example", "abt_secret")
    path.chmod(0o644)
    with pytest.raises(Problem, match="others can read") as refused:
        config.read()
    assert refused.value.exit_code is Exit.FORBIDDEN
    assert "chmod 600" in (refused.value.way_out or "")


def test_without_settings_there_is_the_server_of_this_machine():
    """A first run needs no configuration to find a local server."""
    found = config.read()
    assert (found.server, found.token) == (config.DEFAULT_SERVER, None)


def test_forgetting_removes_it(airboss):
    """`login --forget` leaves nothing behind, and says so where there was nothing."""
    config.write("https://airboss.example", "abt_secret")
    assert airboss("login", "--forget", "--json").json() == {"forgotten": True}
    assert airboss("login", "--forget", "--json").json() == {"forgotten": False}
