"""What each process of `infocl shard --engine ray` does, in folders and in buckets."""

from __future__ import annotations

import json
from hashlib import sha256

import numpy as np
import pytest
from PIL import Image

from infocl.data.decoding import read_image
from infocl.deploy.cluster.decoder import DECODED, Decoding, decode_part, gather, write_shard
from infocl.deploy.cluster.storage import Folder, read
from tests.s3 import served_bucket
from tests.workspace import digit_images

SIZE = 16


def save(folder, count):
    folder.mkdir()
    names = []
    for number, image in enumerate(digit_images(count)[0]):
        names.append(str(folder / f"{number}.png"))
        Image.fromarray(image).save(names[-1])
    return names


@pytest.fixture(params=["folder", "bucket"])
def how(request, tmp_path, monkeypatch):
    if request.param == "folder":
        yield Decoding(str(tmp_path / "out"), SIZE, "center", "auto", "white")
        return
    with served_bucket(monkeypatch) as (url, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        yield Decoding("s3://infocl/out", SIZE, "center", "auto", "white")


def test_decoded_parts_become_shards_wherever_they_lie(how, tmp_path):
    names = save(tmp_path / "photos", 7)
    decoded = [decode_part(0, names[:4], how), decode_part(1, names[4:], how)]
    assert [[fact.width for fact in part.facts] for part in decoded] == [[32] * 4, [32] * 3]
    places = np.array([(0, 1), (0, 2), (1, 0), (0, 0), (1, 2)])
    expected = np.stack([read_image(tmp_path / f"photos/{row}.png", SIZE) for row in (1, 2, 4, 0, 6)])
    np.testing.assert_array_equal(gather(places, SIZE, how.folder), expected)
    about = write_shard(5, places, how)
    content = read(f"{how.target}/chunk-0-5.bin")
    assert content[16:] == expected.tobytes()
    digest = sha256(content).hexdigest()
    assert about["shard"] == {"name": "chunk-0-5.bin", "size": len(content), "sha256": digest}
    assert about["index"]["chunks"][0]["filename"] == "chunk-0-5.bin"
    folder = Folder(how.target)
    assert sorted(folder.files())[:2] == ["chunk-0-5.bin", f"{DECODED}/00000000.bin"]
    folder.remove(DECODED)
    folder.remove(DECODED)
    assert folder.files() == ["chunk-0-5.bin"]


def test_a_part_is_decoded_again_only_where_a_file_has_changed(tmp_path):
    names = save(tmp_path / "photos", 3)
    how = Decoding(str(tmp_path / "out"), SIZE, "center", "auto", "white")
    (tmp_path / "photos/1.png").write_bytes(b"no image")
    first = decode_part(0, names, how)
    assert [one.kind for one in first.seen] == [None, "broken", None]
    assert len(first.facts) == 2
    file = tmp_path / "out" / DECODED / "00000000.bin"
    made = file.stat().st_mtime_ns
    assert decode_part(0, names, how) == first
    assert file.stat().st_mtime_ns == made
    (tmp_path / "photos/1.png").write_bytes((tmp_path / "photos/2.png").read_bytes())
    mended = decode_part(0, names, how)
    assert [one.kind for one in mended.seen] == [None, None, None]
    assert mended.seen[1] == mended.seen[2]
    assert decode_part(0, names, how) == mended
    assert decode_part(0, names, how._replace(size=8)).facts != mended.facts
    (tmp_path / "photos/0.png").unlink()
    assert decode_part(0, names, how).seen[0].kind == "missing"
    file.with_suffix(".json").write_text("{")
    assert decode_part(0, names, how).seen[0].kind == "missing"
    assert json.loads(file.with_suffix(".json").read_text())["key"]
