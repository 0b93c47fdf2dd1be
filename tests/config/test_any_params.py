"""Whatever params.yaml holds, it is valid or refused in one line."""

from __future__ import annotations

import copy
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infocl.config import Params
from infocl.config.file import load_params, parse_params
from infocl.runtime.errors import UserError
from tests.config.test_config import KEYS, ROOT, SHIPPED, changed, leaves

KINDS = ["set", "remove", "rename", "add"]
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.one_of(st.integers(), st.floats(), st.text(max_size=5)), max_size=4),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
    st.sampled_from(["auto", "cpu", "rc", "none", "folder", [0.1, 1.0], [1e-3], 224, 0, 1, 0.5]),
)


@pytest.mark.parametrize(
    "junk", [None, True, -1, 0, 2.5, math.inf, "", "x", [], [1], ["x"], {}, {"x": 1}, {1: 0}, {None: 0}]
)
def test_each_value_of_another_kind_is_refused_in_words_of_ours(junk):
    for key in KEYS:
        try:
            parse_params(changed(key, junk))
        except UserError as error:
            assert "should" not in str(error), f"{key} = {junk!r}"


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    edits=st.lists(
        st.tuples(
            st.sampled_from(KEYS),
            st.sampled_from(KINDS),
            JUNK,
            st.text(max_size=8),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_any_mutation_is_accepted_as_valid_or_refused_in_one_line(edits):
    raw = copy.deepcopy(SHIPPED)
    for key, kind, junk, name in edits:
        node = raw
        *parents, last = key.split(".")
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if not isinstance(node, dict) or last not in node:
            continue
        if kind == "set":
            node[last] = junk
        elif kind == "remove":
            del node[last]
        elif kind == "rename":
            node[name] = node.pop(last)
        elif isinstance(node[last], dict):
            node[last][name] = junk
    try:
        params = parse_params(raw)
    except UserError as error:
        assert str(error).startswith("params.yaml: ")
        assert "\n" not in str(error)
        assert "Input should" not in str(error)
    else:
        assert Params.model_validate(raw) == params
        assert set(leaves(params.model_dump())) == set(KEYS), "nothing unknown slipped in"


@settings(max_examples=100)
@given(position=st.integers(0, 10_000), inserted=st.binary(min_size=1, max_size=6))
def test_any_damage_to_the_text_is_survived(tmp_path_factory, position, inserted):
    text = (ROOT / "params.yaml").read_bytes()
    position %= len(text)
    path = tmp_path_factory.mktemp("damage") / "params.yaml"
    path.write_bytes(text[:position] + inserted + text[position:])
    try:
        load_params(path)
    except UserError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"seed: [", "line 1"),
        (b"seed: 0\nseed: 1\n", "duplicate key"),
        (b"- 1\n", "must hold a mapping"),
        (b"", "must hold a mapping"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a: !!python/object/apply:os.system [x]\n", "params.yaml"),
    ],
)
def test_what_is_not_a_params_file(tmp_path, text, message):
    path = tmp_path / "params.yaml"
    path.write_bytes(text)
    with pytest.raises(UserError) as caught:
        load_params(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
