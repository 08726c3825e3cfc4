"""Failpoints: silent unless armed, on the very pass they were armed for."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from airboss.kernel import failpoints


def test_nothing_happens_unarmed():
    """A failpoint nobody armed does nothing."""
    for name in failpoints.NAMES:
        failpoints.reach(name)


def test_it_strikes_on_the_pass_it_was_armed_for_and_once():
    """Armed for the third pass, it lets two by, raises, and is spent."""
    failpoints.arm("store.before_commit", on_pass=3)
    failpoints.reach("store.before_commit")
    failpoints.reach("store.after_commit")
    failpoints.reach("store.before_commit")
    with pytest.raises(failpoints.Reached):
        failpoints.reach("store.before_commit")
    failpoints.reach("store.before_commit")


def test_an_unknown_name_is_a_mistake():
    """A test that misspells a failpoint would prove nothing, so it fails."""
    with pytest.raises(KeyError):
        failpoints.arm("store.befor_commit")


def test_kill_is_a_real_death():
    """The action `kill` ends the process with SIGKILL: no handler, no flush."""
    script = (
        "from airboss.kernel import failpoints as f; f.arm('store.after_commit', action='kill');"
        "f.reach('store.after_commit'); print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")
