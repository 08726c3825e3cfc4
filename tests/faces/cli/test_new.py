"""`change new`: asked on a real terminal with what a real server offers; made from options everywhere else."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from tests.faces.api.test_live import Served
from tests.faces.cli.conftest import Airboss

from airboss.changes import templates
from airboss.faces.cli.exit_codes import Exit
from airboss.faces.cli.proposal import TARGETS, Wanted, blanks, fitting, proposal
from airboss.sdk.ids import encode, uuid7

ID = encode("chg", uuid7(1_767_600_000_000, b"0123456789"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    opened = Served(tmp_path_factory.mktemp("served"), hosts="127.0.0.1")
    opened.organised()
    yield opened
    opened.stop()
    opened.close()


class Terminal:
    """`airboss change new` on a terminal of its own, in a folder."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        kept = {name: value for name, value in os.environ.items() if name not in ("CI", "AIRBOSS_TOKEN")}
        given = {**kept, "TERM": "dumb", "AIRBOSS_CONFIG": str(folder / "none.json"), **environment}
        self._pid, self._master = pty.fork()  # its controlling terminal: only of that does Ctrl-C interrupt
        if not self._pid:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job has it ignored, and so would we
            os.chdir(folder)
            os.execve(sys.executable, [sys.executable, "-m", "airboss.faces.cli", "change", "new"], given)
        self.said = ""

    def answer(self, question: str, text: str) -> None:
        """Wait for a question, and type an answer."""
        before = self.said.count(question)
        while self.said.count(question) == before or not self.said.rstrip("\r\n").endswith(": "):
            assert self._read(), f"{question!r} was never asked:\n{self.said}"
        os.write(self._master, text.encode())

    def give_up(self, question: str, key: str) -> None:
        """Wait for a question, and press a key until it is heard: one that falls between asking and listening is not."""
        self.answer(question, key)
        while "Nothing was written." not in self.said:
            if not select.select([self._master], [], [], 1.0)[0]:
                os.write(self._master, key.encode())
            elif not self._read():
                return

    def end(self) -> int:
        while self._read():
            pass
        return self._ended()

    def leave(self) -> None:
        """End what still runs: a test that fails leaves nobody waiting for an answer."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            self._ended()

    def _ended(self) -> int:
        os.close(self._master)
        pid, self._pid = self._pid, 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _read(self) -> bool:
        try:
            piece = os.read(self._master, 4096)
        except OSError:
            return False  # the other side is closed
        self.said += piece.decode()
        return bool(piece)


@pytest.fixture
def interviewed(tmp_path: Path) -> Iterator[Callable[[Mapping[str, str]], Terminal]]:
    """Start `change new` on a terminal, with some variables of its environment."""
    opened: list[Terminal] = []

    def start(environment: Mapping[str, str]) -> Terminal:
        opened.append(Terminal(tmp_path, environment))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.leave()


def test_an_interview_makes_a_change_that_is_submitted_as_it_is(
    served: Served, tmp_path: Path, interviewed: Callable[[Mapping[str, str]], Terminal]
) -> None:
    """Only what a template cannot know is asked, what the server knows is offered, what cannot be is asked again; the file
    goes in without an edit, and what to do next is said.
    """
    server = {"AIRBOSS_SERVER": served.url, "AIRBOSS_TOKEN": served.token("dev-a", scopes=["read"])}
    terminal = interviewed(server)
    for question, text in (
        ("Kind of change", "?\n"),
        ("Kind of change", "ramp of nothing\n"),
        ("Kind of change", "\n"),
        ("Service: ", "checkout\n"),
        ("Title", "New VAT engine: everybody\n"),
        ("Why", "VAT rules change on 1 December\n"),
        ("Owner, a team [payments]", "\n"),
        ("Environment [production]", "\n"),
        ("Flag [tax.engine]", "\n"),
        ("Variant everybody has now (off, on) [off]", "\n"),
        ("Variant they will have [on]", "\n"),
        ("Users it can touch", "many\n"),
        ("Users it can touch", "40%\n"),
        ("The way back [flag back to off]", "\n"),
        ("File [change.yaml]", "\n"),
    ):
        terminal.answer(question, text)
    assert terminal.end() == Exit.OK, terminal.said
    assert "a feature flag turned on for a growing share of users" in terminal.said
    assert "There is no ramp of nothing" in terminal.said
    assert "A number from 0 to 100." in terminal.said
    assert terminal.said.splitlines()[-1] == "Next: airboss change submit change.yaml"
    text = (tmp_path / "change.yaml").read_text()
    assert 'title: "New VAT engine: everybody"' in text
    sent = served.browser("dev-a").post(
        "/api/v1/changes?submit=true", content=text, headers={"Content-Type": "application/yaml"}
    )
    assert sent.status_code == 201, sent.text
    assert sent.json()["phase"] != "draft"


@pytest.mark.parametrize("key", ["\x03", "\x04"], ids=["ctrl-c", "ctrl-d"])
def test_who_has_had_enough_leaves_nothing_behind(
    tmp_path: Path, interviewed: Callable[[Mapping[str, str]], Terminal], key: str
) -> None:
    """Without a server the questions are asked all the same; an interview that is broken off writes nothing, and ends so."""
    terminal = interviewed({"AIRBOSS_SERVER": "http://127.0.0.1:1"})
    terminal.answer("Kind of change", "\n")
    terminal.give_up("Service: ", key)
    assert terminal.end() == Exit.INTERRUPTED
    assert "nothing is offered" in terminal.said
    assert "Nothing was written." in terminal.said
    assert "Traceback" not in terminal.said
    assert list(tmp_path.iterdir()) == []


def test_ci_is_never_asked(interviewed: Callable[[Mapping[str, str]], Terminal]) -> None:
    """Where CI is set, even a terminal gets the file and no question."""
    terminal = interviewed({"CI": "true"})
    assert terminal.end() == Exit.OK
    assert terminal.said.startswith("apiVersion: airboss/v1")
    assert "users_percent: USERS_PERCENT" in terminal.said


def test_options_make_the_file_and_say_what_is_missing(airboss: Airboss, tmp_path: Path) -> None:
    """What was said is in it, what was not stands in capitals and is named; nothing is written over."""
    file = tmp_path / "change.yaml"
    said = ("--service", "checkout", "--title", "VAT", "--why", "law", "--team", "payments", "--flag", "tax.engine")
    made = airboss("change", "new", *said, "-o", str(file))
    assert made.code == Exit.OK, made.err
    assert made.out.splitlines()[1:] == [
        "Still to be said in it: USERS_PERCENT",
        f"Next: airboss change submit {file}",
    ]
    assert '{flag: {name: tax.engine, old: "off", new: "on"}}' in file.read_text()
    again = airboss("change", "new", *said, "-o", str(file))
    assert (again.code, again.err.splitlines()[0]) == (Exit.USAGE, f"Not understood (file-exists) at {file}")
    value = airboss("change", "new", *said, "--json").json()
    assert set(value) == {"id", "template", "file", "text"}
    wrong = airboss("change", "new", "--template", "service-release", "--target", "pigeon")
    assert (wrong.code, wrong.err.splitlines()[2]) == (Exit.USAGE, "  Way out: use flag or envoy")


@pytest.mark.parametrize("kind", [one.metadata.name for one in templates()])
def test_every_kind_has_a_file_to_start_from(airboss: Airboss, become: Callable[..., None], kind: str) -> None:
    """What is made of any template is read as a change once its blanks are filled, and names what is blank."""
    from airboss.changes import read_change
    from airboss.kernel.yaml import load_one

    (template,) = (one for one in templates() if one.metadata.name == kind)
    text = proposal(Wanted(template=template, id=ID))
    for word in blanks(Wanted(template=template, id=ID)):
        assert re.search(rf"\b{word}\b", text), word
    carried = fitting(template)
    whole = Wanted(
        template=template,
        id=ID,
        service="checkout",
        title="on",
        why='it is: needed, "really" # so',
        team="payments",
        version="1.10",
        digest="sha256:" + "0" * 64,
        users_percent=5,
        runbook="nurse",
        target=carried[0] if carried else None,
        params={one.name: "off" for one in TARGETS[carried[0]]} if carried else {},
    )
    assert blanks(whole) == []
    read = read_change(load_one(proposal(whole).encode(), "change.yaml"))
    assert (read.spec.title, read.spec.why) == (whole.title, whole.why)
    assert read.spec.artifact is None or read.spec.artifact.version == "1.10"
