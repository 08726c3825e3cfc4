"""Whatever a server sends, the SDK answers evaluations: with the last known flags, or the caller's default."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from openfeature.evaluation_context import EvaluationContext

from airboss.sdk.follow import Away
from airboss.sdk.provider import AirbossProvider

FLAG = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}
KNOWN = json.dumps({"revision": 1, "flags": {"known": FLAG, "f": FLAG}}).encode()


hostile = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(["on", "off", "ENABLED"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(
                st.text(max_size=4),
                st.sampled_from(
                    ["state", "variants", "defaultVariant", "targeting", "if", "var", "fractional", "<", "ramp"]
                ),
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=8,
)
answers = st.one_of(
    st.binary(max_size=40),
    hostile.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(["f", "g"]), hostile, max_size=2).map(
        lambda flags: json.dumps({"revision": 2, "flags": flags}).encode("utf-16" if len(flags) == 1 else "utf-8")
    ),
    st.just(b"[" * 50_000),
    st.just(b'{"flags": {"f": ' + b'{"if": [' * 3_000 + b"]}" * 3_000 + b"}}"),
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(sent=st.lists(answers, max_size=4), key=st.text(max_size=4))
def test_nothing_a_server_sends_reaches_an_evaluation_as_a_fault(sent: list[bytes], key: str) -> None:
    """Whatever bytes come, an evaluation answers; flags the answers do not touch stay the last known ones."""
    provider = AirbossProvider("http://127.0.0.1:9", "t")
    follower = provider._follower
    follower._take(KNOWN, '"1"')
    for data in sent:
        before = provider.revision
        refused = False
        try:
            follower._take(data, '"2"')
        except Away:
            refused = True  # told as away; the flags at hand stay
        for flag in ("known", "f", "g"):
            found = provider.resolve_boolean_details(flag, False, EvaluationContext(key, {"x": 1}))
            assert isinstance(found.value, bool)
            assert found.error_code is None or found.value is False
        if refused:
            assert provider.revision == before
            if len(sent) == 1:
                assert provider.resolve_boolean_details("known", False, EvaluationContext(key)).value is True
