"""Strict YAML: what is read, what is refused, and where."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airboss.kernel.errors import Invalid
from airboss.kernel.yaml import MAX_BYTES, MAX_DEPTH, load_documents, load_one


def test_core_schema_of_yaml_1_2() -> None:
    """Words and timestamps stay strings, numbers and true/false are what YAML 1.2 says."""
    text = b"""
    old: off
    new: on
    sure: yes
    octal: 010
    hex: 0x1f
    o8: 0o17
    at: 2026-11-02T09:00
    day: 2026-11-02
    version: 2.4.0
    number: 2.10
    quoted: "2.10"
    share: 5%
    nothing: ~
    empty:
    truth: true
    big: 1e3
    time: 12:30:45
    under: 1_000
    """
    assert load_one(text, "x.yaml").value == {
        "old": "off",
        "new": "on",
        "sure": "yes",
        "octal": 10,
        "hex": 31,
        "o8": 15,
        "at": "2026-11-02T09:00",
        "day": "2026-11-02",
        "version": "2.4.0",
        "number": 2.1,
        "quoted": "2.10",
        "share": "5%",
        "nothing": None,
        "empty": None,
        "truth": True,
        "big": 1000.0,
        "time": "12:30:45",
        "under": "1_000",
    }


def test_raw_text_of_a_number() -> None:
    """A field that wants a version takes 2.10 as it was written."""
    document = load_one(b"artifact: {version: 2.10, parts: [1.0]}", "c.yaml")
    assert document.raw(("artifact", "version")) == "2.10"
    assert document.raw(("artifact", "parts", 0)) == "1.0"
    assert document.raw(("artifact",)) is None
    assert document.raw(("nothing",)) is None


def test_places() -> None:
    """Every value and key has its line and column; what is absent is shown at its nearest ancestor."""
    document = load_one(b"kind: A\nspec:\n  rules:\n    - id: ONE\n    - {id: TWO, title: x}\n", "dir/p.yaml")
    assert document.place() == "dir/p.yaml:1:1"
    assert document.place(("spec", "rules", 1, "title")) == "dir/p.yaml:5:24"
    assert document.key_place(("spec", "rules", 1, "title")) == "dir/p.yaml:5:17"
    assert document.place(("spec", "rules", 0, "when")) == "dir/p.yaml:4:7"
    assert document.place(("spec", "rules", 9)) == "dir/p.yaml:4:5"


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("a: 1\na: 2\n", "x.yaml:2:1", "twice"),
        ("a: {b: 1, b: 2}\n", "x.yaml:1:11", "twice"),
        ("a: !!python/object:os.system x\n", "x.yaml:1:4", "tag"),
        ("a: !local x\n", "x.yaml:1:4", "tag"),
        ("a: !!str 1\n", "x.yaml:1:4", "tag"),
        ("base: &b {x: 1}\na:\n  <<: *b\n", "x.yaml:3:3", "merge"),
        ("? [a]\n: 1\n", "x.yaml:1:3", "key"),
        ("a: &x [*x]\n", "x.yaml:1:8", "contains itself"),
        ("a: *x\n", "x.yaml:1:4", "no anchor"),
        ("a: .inf\n", "x.yaml:1:4", "finite"),
        ("a: .nan\n", "x.yaml:1:4", "finite"),
        ("a: 1e999\n", "x.yaml:1:4", "too large"),
        ("a: " + "9" * 5000 + "\n", "x.yaml:1:4", "too large"),
        ("%YAML 1.1\n---\na: 1\n", "x.yaml:2:1", "1.2"),
        ("a: b: c\n", "x.yaml:1:5", "mapping values"),
        ("a: [1, 2\n", "x.yaml:2:1", "flow sequence"),
        ("a: 1\n\tb: 2\n", "x.yaml:2:1", ""),
        ("a: '\x07'\n", "x.yaml:1:5", "control character"),
        ("a: " + "[" * 100 + "]" * 100, f"x.yaml:1:{3 + MAX_DEPTH}", "nested"),
    ],
)
def test_refusals_name_the_place(text: str, place: str, says: str) -> None:
    """What is not plain YAML 1.2 is refused where it stands."""
    with pytest.raises(Invalid) as refused:
        load_documents(text.encode(), "x.yaml")
    assert refused.value.code == "bad-yaml"
    assert refused.value.place == place
    assert says in refused.value.detail


def test_bytes_that_are_not_utf8() -> None:
    """A wrong byte is shown by line and column."""
    with pytest.raises(Invalid) as refused:
        load_documents(b"a: 1\nb: \xff\n", "x.yaml")
    assert refused.value.place == "x.yaml:2:4"


def test_size_limit() -> None:
    """A file beyond the limit is refused unread."""
    with pytest.raises(Invalid, match="bytes"):
        load_documents(b"#" * (MAX_BYTES + 1), "x.yaml")


def test_too_many_values() -> None:
    """A file of very many values is refused before it is read to the end."""
    with pytest.raises(Invalid, match="values in one file"):
        load_documents(b"[" + b"1," * 60_000 + b"]", "x.yaml")


def test_alias_bomb() -> None:
    """Aliases of aliases are counted as what they expand to."""
    lines = ["a0: &a0 [1,1,1,1,1,1,1,1,1,1]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    with pytest.raises(Invalid, match="aliases") as refused:
        load_documents("\n".join(lines).encode(), "x.yaml")
    assert refused.value.place is not None


def test_too_many_aliases() -> None:
    """Many aliases are refused even when they are small."""
    with pytest.raises(Invalid, match="aliases in one file"):
        load_documents(b"a: &a 1\nb: [" + b"*a," * 300 + b"]", "x.yaml")


def test_aliases_nest_no_deeper_than_written_values() -> None:
    """Depth is counted through aliases."""
    with pytest.raises(Invalid, match="nested"):
        load_documents(b"a: &a " + b"[" * 40 + b"]" * 40 + b"\nb: " + b"[" * 40 + b"*a" + b"]" * 40, "x.yaml")


def test_aliases_are_copies() -> None:
    """An alias gives an equal value of its own, so that nobody changes two places at once."""
    value = load_one(b"a: &x {b: [1]}\nc: *x\n", "x.yaml").value
    assert isinstance(value, dict)
    assert value["a"] == value["c"] == {"b": [1]}
    assert value["a"] is not value["c"]


def test_documents() -> None:
    """A file of several documents gives them in order, without the empty ones, and each knows its lines."""
    documents = load_documents(b"---\na: 1\n---\n---\n# nothing\n---\nb: 2\n", "x.yaml")
    assert [document.value for document in documents] == [{"a": 1}, {"b": 2}]
    assert documents[1].place(("b",)) == "x.yaml:7:4"
    assert load_documents(b"", "x.yaml") == []
    with pytest.raises(Invalid, match="second"):
        load_one(b"a: 1\n---\nb: 1\n", "x.yaml")
    with pytest.raises(Invalid, match="empty"):
        load_one(b"# nothing\n", "x.yaml")


def test_a_document_alone() -> None:
    """A document cut out of its file reads the same, comments and places included."""
    text = b"# head\nkind: A\n---\n# second\nkind: B\nlist: [1, &x 2, *x]\n---\n---\nkind: C # end\n"
    documents = load_documents(text, "x.yaml")
    assert b"# head" in documents[0].alone()
    assert b"# second" in documents[1].alone()
    for document in documents:
        again = load_one(document.alone(), "x.yaml")
        assert again.value == document.value
        assert again.place(("kind",)) == document.place(("kind",))
        assert again.alone() == document.alone()
    single = b"# head\nkind: A\n# tail\n"
    assert load_one(single, "x.yaml").alone() == single


def test_windows_lines_and_byte_order_mark() -> None:
    """Files from other systems read the same, with the same places."""
    document = load_one(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n", "x.yaml")
    assert document.value == {"a": 1, "b": 2}
    assert document.place(("b",)) == "x.yaml:2:4"


@pytest.mark.parametrize(
    ("text", "needle", "place"),
    [
        ("a: one + bad\n", "bad", "x.yaml:1:10"),
        ("a: 'it''s bad'\n", "bad", "x.yaml:1:11"),
        ('a: "x\\" \\u0041 bad"\n', "bad", "x.yaml:1:16"),
        ("a: |\n  one\n  bad\n", "bad", "x.yaml:3:3"),
        ("a: |-\n  one &&\n    bad\n", "bad", "x.yaml:3:5"),
        ("a: >-\n  one &&\n  bad\n", "bad", "x.yaml:3:3"),
        ("a: one &&\n  bad\n", "bad", "x.yaml:2:3"),
        ("a: bad\n", "bad", "x.yaml:1:4"),
    ],
)
def test_places_inside_a_string(text: str, needle: str, place: str) -> None:
    """An offset into a string is found again in the file, through quotes, escapes, folds and block scalars."""
    document = load_one(text.encode(), "x.yaml")
    raw = document.raw(("a",))
    assert raw is not None
    assert document.inside(("a",), raw.index(needle)) == place


_text = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Cn", "Zl", "Zp"], exclude_characters="\ufeff"), max_size=20
)
_scalars = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False)
_values = st.recursive(
    _scalars | _text, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4)
)


@settings(max_examples=60)
@given(_values)
def test_json_is_read_as_json(value: object) -> None:
    """YAML 1.2 is JSON's superset: every JSON text is read back as the same value."""
    assert load_one(json.dumps({"v": value}, ensure_ascii=False).encode(), "x.yaml").value == {"v": value}


@settings(max_examples=200)
@given(st.text(alphabet="ab:-{}[]&*!'\"|> \n,?%#\\~1.", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text brings anything but a value or a refusal with its place."""
    with contextlib.suppress(Invalid):
        load_documents(text.encode(), "x.yaml")


@pytest.mark.parametrize("number", ["9" * 400, "-" + "9" * 399, "0x" + "f" * 300, "1e400"])
def test_a_number_beyond_every_double_is_refused_with_its_place(number: str) -> None:
    """Whole numbers are refused like others when no double holds them, whatever they are written in."""
    with pytest.raises(Invalid, match="too large") as caught:
        load_one(f"a: 1\nb: {number}".encode(), "x.yaml")
    assert caught.value.place == "x.yaml:2:4"


def test_pairs_of_escapes_are_one_character() -> None:
    """JSON writes what lies beyond 16 bits as two escapes; it is read as the one character, also where places are told."""
    document = load_one(rb'{"t": "\ud83d\ude80 up"}', "x.json")
    assert document.value == {"t": "\N{ROCKET} up"}
    assert document.inside(("t",), 2) == "x.json:1:21"
    assert load_one(json.dumps({"\N{ROCKET}": 1}).encode(), "x.json").value == {"\N{ROCKET}": 1}


@pytest.mark.parametrize("text", [r'"\ud83d"', r'"\ude80\ud83d"', r'"a\0b"', r'{"\ud800": 1}', r'{"\0": 1}'])
def test_what_is_no_text_is_refused(text: str) -> None:
    """Half a surrogate pair and NUL stand in no value and in no key: no database and no page could carry them."""
    with pytest.raises(Invalid, match=r"surrogate|NUL") as caught:
        load_one(f"a: {text}".encode(), "x.yaml")
    assert caught.value.place is not None
    assert caught.value.place.startswith("x.yaml:1:")
