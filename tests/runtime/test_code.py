"""What a checkpoint is held to: what the code does, not how it reads."""

from __future__ import annotations

import pytest

from infocl.runtime import code

SOURCE = '"""What it is."""\n\nRATE = 2\n\n\ndef double(x: int) -> int:\n    return RATE * x\n'


@pytest.fixture
def room(tmp_path, monkeypatch):
    monkeypatch.setattr(code, "PACKAGE", tmp_path)
    (tmp_path / "room/inner").mkdir(parents=True)
    file = tmp_path / "room/inner/module.py"
    file.write_text(SOURCE)
    return file


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("What it is", "What it was", True),
        ("RATE = 2", "RATE = 2  # twice", True),
        ("RATE * x", "RATE*x", True),
        ("    return", '    """Twice."""\n    return', True),
        ("RATE = 2", "RATE = 3", False),
        ("RATE * x", "x * RATE", False),
    ],
)
def test_comments_and_layout_do_not_change_the_hash_but_code_does(room, old, new, same):
    before = code.code_sha256(["room"])
    room.write_text(SOURCE.replace(old, new))
    assert (code.code_sha256(["room"]) == before) == same


def test_a_renamed_or_new_file_changes_the_hash(room):
    before = code.code_sha256(["room"])
    room.with_name("other.py").write_text("X = 1\n")
    assert code.code_sha256(["room"]) != before
