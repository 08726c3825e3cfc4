"""Completion: a shell offers what the server has, and nothing is said when it is away."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.faces.api.desk import CHANGE, Desk

from airboss.faces.cli.app import run
from airboss.faces.cli.client import Api
from airboss.faces.cli.config import Reach
from airboss.faces.cli.options import WAY

Offered = Callable[..., list[str]]


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Offered:
    """Ask as bash does when somebody presses the tabulator after these words."""

    def ask(*words: str) -> list[str]:
        monkeypatch.setenv("_AIRBOSS_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", " ".join(("airboss", *words)))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        capsys.readouterr()
        with pytest.raises(SystemExit):
            run([])
        said = capsys.readouterr()
        assert said.err == ""
        return said.out.split()

    return ask


def test_changes_flags_services_and_templates_are_offered(
    desk: Desk, become: Callable[..., None], offered: Offered
) -> None:
    """An ID by its end as lists show it or whole, a flag's key, a service's name, a kind of change; verbs too."""
    become("dev-a")
    made = desk.browser("dev-a").post("/api/v1/changes", content=CHANGE, headers={"Content-Type": "application/yaml"})
    change = made.json()["id"]
    assert offered("change", "show", "") == [change[-8:]]
    assert offered("rollback", "chg_") == [change]
    assert offered("change", "show", "zzzz") == []
    assert offered("flag", "kill", "tax") == ["tax.engine"]
    assert offered("version", "lift", "") == ["checkout"]
    assert offered("change", "list", "--service", "ch") == ["checkout"]
    assert "flag-ramp" in offered("change", "new", "--template", "flag")
    assert offered("change", "sub") == ["submit"]


def test_a_server_that_is_away_offers_nothing(offered: Offered) -> None:
    """Nothing breaks the line that is being typed: no server, no offer, no word."""
    WAY._api = Api(Reach(server="http://127.0.0.1:1", token=None, source="a test"))
    assert offered("change", "show", "") == []
    assert offered("flag", "show", "t") == []
