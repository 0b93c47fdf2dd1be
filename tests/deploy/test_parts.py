"""Parts of a table, as each process of `infocl embed --engine ray` writes them, in folders and in buckets.

Two nodes of Ray, one of which is killed, are in test_cluster.py.
"""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from infocl.deploy.cluster.parts import Done, agree, finished, split
from infocl.deploy.cluster.storage import Folder, find_anywhere
from infocl.deploy.cluster.worker import PartWriter
from infocl.deploy.table import EmbeddingTable
from infocl.runtime.errors import UserError
from tests.deploy.test_embed import near, read, save_examples
from tests.s3 import served_bucket


def writer_of(folder, output, *, strict=False):
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    return PartWriter(content, "float32", str(output), strict=strict)


def as_row(part):
    return {"number": part.number, "names": np.array(part.names)}


def test_parts_hold_what_one_process_writes_and_are_made_once(folder, infocl, tmp_path):
    photos, single = tmp_path / "photos", tmp_path / "single.parquet"
    save_examples(folder, photos)
    (photos / "4b.jpg").write_bytes(b"no image")
    assert infocl("embed", photos, "-o", single, "--encoder", folder).exit_code == 0
    output = Folder(str(tmp_path / "out"))
    parts = split(find_anywhere([str(photos)]), 4)
    assert [len(part.names) for part in parts] == [4, 4, 3]
    write = writer_of(folder, output.address)
    assert finished(output, parts[1]) is None
    answers = [write(as_row(part)) for part in parts]
    assert [answer["images"] for answer in answers] == [4, 4, 3]
    (line,) = [line for answer in answers for line in json.loads(answer["skipped"])]
    assert line.startswith(f"{photos / '4b.jpg'} cannot be read as an image")
    assert [finished(output, part) for part in parts] == [Done(4, []), Done(3, [line]), Done(3, [])]
    table = EmbeddingTable(tmp_path / "out")
    paths = [path for block in table.blocks() for path in block.paths.to_pylist()]
    embeddings = np.concatenate([block.embeddings for block in table.blocks()])
    expected = read(single)
    assert paths == list(expected)
    for path, embedding in zip(paths, embeddings, strict=True):
        near(embedding, expected[path])
    file = tmp_path / "out" / parts[0].file
    made = file.stat().st_mtime_ns
    assert write(as_row(parts[0])) == answers[0]
    assert file.stat().st_mtime_ns == made
    file.write_bytes(file.read_bytes()[:500])  # as a store shows it that does not write at once
    assert finished(output, parts[0]) is None
    assert write(as_row(parts[0])) == answers[0]
    assert finished(output, parts[0]) == Done(4, [])


def test_strict_leaves_no_part_with_an_image_that_cannot_be_read(folder, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    (part,) = split([str(tmp_path / "a.png")], 4)
    answer = writer_of(folder, tmp_path / "out", strict=True)(as_row(part))
    assert answer["error"].startswith(f"{tmp_path / 'a.png'} cannot be read as an image")
    assert finished(Folder(str(tmp_path / "out")), part) is None


def test_images_of_a_bucket_go_to_a_bucket(folder, tmp_path, monkeypatch):
    with served_bucket(monkeypatch) as (url, client):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        expected = save_examples(folder, tmp_path / "photos")
        for path in expected:
            client.upload_file(path, "infocl", f"photos/sub/{path.rpartition('/')[2]}")
        client.put_object(Bucket="infocl", Key="photos/notes.txt", Body=b"no image")
        client.put_object(Bucket="infocl", Key="photos/sub/x.png", Body=b"damaged")
        names = find_anywhere(["s3://infocl/photos"])
        assert names == [f"s3://infocl/photos/sub/{name}.png" for name in [*range(10), "x"]]
        output = Folder("s3://infocl/out")
        agree(output, names, 6, "ab" * 32)
        agree(output, names, 6, "ab" * 32)
        write = writer_of(folder, output.address)
        answers = [write(as_row(part)) for part in split(names, 6)]
        assert [answer["error"] for answer in answers] == ["", ""]
        (line,) = json.loads(answers[1]["skipped"])
        assert line.startswith("s3://infocl/photos/sub/x.png cannot be read as an image")
        for part in split(names, 6):
            client.download_file("infocl", f"out/{part.file}", str(tmp_path / part.file))
            for name, embedding in read(tmp_path / part.file).items():
                near(embedding, expected[str(tmp_path / "photos" / name.rpartition("/")[2])])
        assert finished(output, split(names, 6)[1]) == Done(4, [line])
        client.delete_object(Bucket="infocl", Key="photos/sub/x.png")
        write.folder = Folder("s3://infocl/again")
        answer = write(as_row(split(names, 11)[0]))
        assert "s3://infocl/photos/sub/x.png cannot be read" in json.loads(answer["skipped"])[0]


def test_a_folder_of_other_work_is_refused(tmp_path):
    output = Folder(str(tmp_path / "out"))
    agree(output, ["a.png", "b.png"], 2, "ab" * 32)
    agree(output, ["a.png", "b.png"], 2, "ab" * 32)
    for names, size, encoder in [
        (["a.png", "c.png"], 2, "ab" * 32),
        (["a.png", "b.png"], 1, "ab" * 32),
        (["a.png", "b.png"], 2, "cd" * 32),
    ]:
        with pytest.raises(UserError, match="was begun for other images, another encoder or parts"):
            agree(output, names, size, encoder)


def test_what_leads_nowhere_is_named(tmp_path):
    with pytest.raises(UserError, match="is no address of a bucket"):
        find_anywhere(["nowhere://bucket"])
    with pytest.raises(UserError, match=r"nothing does not exist; name an image"):
        find_anywhere(["nothing"])


def test_without_ray_the_command_says_which_extra_it_needs(folder, tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    hidden = "import sys; sys.modules['ray'] = None; from infocl.cli.main import main; main()"
    command = [sys.executable, "-c", hidden, "embed", tmp_path / "a.png", "-o", tmp_path / "out"]
    done = subprocess.run([*command, "--engine", "ray"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert (
        done.stderr == "infocl: this command needs ray, which is not installed: pip install 'infocl[ray]'\n"
    )
