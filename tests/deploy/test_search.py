"""`infocl search` over the table of `infocl embed`: exact, by an index, and as a page."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from infocl.deploy import table as module
from infocl.deploy.search import nearest
from infocl.deploy.table import EmbeddingTable
from tests.deploy.test_embed import save_examples


@pytest.fixture
def table(folder, infocl, tmp_path):
    """The embedded examples, as `infocl embed` writes them."""
    save_examples(folder, tmp_path / "photos")
    path = tmp_path / "features.parquet"
    assert infocl("embed", tmp_path / "photos", "-o", path, "--encoder", folder).exit_code == 0
    return path


def read(path):
    rows = pq.read_table(path)
    return rows["path"].to_pylist(), np.array(rows["embedding"].to_pylist())


def naive(embeddings, query, count):
    """Rows and cosines, the nearest first, one by one in float64."""
    cosines = [row @ query / (np.linalg.norm(row) * np.linalg.norm(query)) for row in embeddings]
    order = sorted(range(len(embeddings)), key=lambda row: -cosines[row])[:count]
    return order, [cosines[row] for row in order]


def listed(lines):
    return [tuple(reversed(line.split())) for line in lines]


def test_a_row_and_an_image_that_is_not_in_the_table(folder, infocl, table, tmp_path):
    paths, embeddings = read(table)
    shifted = tmp_path / "query.png"  # nearly the first row's image
    pixels = np.asarray(Image.open(paths[0])).astype(int) + 1
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(shifted)
    result = infocl("search", paths[3], shifted, "--in", table, "-k", 4, "--encoder", folder)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert (lines[0], lines[5], len(lines)) == (paths[3], str(shifted), 10)
    order, cosines = naive(embeddings, embeddings[3], 5)
    assert order[0] == 3
    assert listed(lines[1:5]) == [
        (paths[row], f"{cosine:.4f}") for row, cosine in zip(order[1:], cosines[1:], strict=True)
    ]
    assert listed(lines[6:])[0][0] == paths[0]


def test_many_blocks_give_what_one_look_at_all_rows_gives(table, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROWS", 300)
    generator = np.random.default_rng(0)
    embeddings = generator.normal(size=(2000, 64)).astype(np.float32)
    embeddings[17] = 0
    parts = tmp_path / "parts"
    parts.mkdir()
    schema = pq.read_schema(table)
    for start in (0, 1100):
        some = embeddings[start : start + 1100]
        names = [f"{start + row}.png" for row in range(len(some))]
        pq.write_table(
            pa.Table.from_batches([module.as_batch(names, some, schema)]), parts / f"{start:04}.parquet"
        )
    rows = EmbeddingTable(parts)
    queries = generator.normal(size=(3, 64)).astype(np.float32)
    numbers, cosines = nearest(rows, queries, 7)
    embeddings[17] = 1e-30
    for query, found, near in zip(queries.astype(float), numbers, cosines, strict=True):
        order, expected = naive(np.delete(embeddings.astype(float), 17, 0), query, 7)
        assert found.tolist() == [row + (row >= 17) for row in order]
        np.testing.assert_allclose(near, expected, atol=1e-6)
    assert rows.take(numbers[0]) == [f"{number}.png" for number in numbers[0]]
    assert nearest(rows, queries, 2000)[0].shape == (3, 2000)


def test_an_index_is_built_once_and_anew_for_other_rows(folder, infocl, table, tmp_path):
    paths, _ = read(table)
    exact = infocl("search", *paths, "--in", table, "-k", 3)
    index = tmp_path / "index"
    first = infocl("search", *paths, "--in", table, "-k", 3, "--index", index)
    assert first.exit_code == 0, first.stderr
    building, rest = first.stdout.split("\n", 1)
    assert building == f"Building an index of 10 rows in {index} ..."
    assert rest == exact.stdout  # of so few rows it misses none
    assert infocl("search", *paths, "--in", table, "-k", 3, "--index", index).stdout == exact.stdout
    assert infocl("embed", *paths[:9], "-o", table, "--encoder", folder).exit_code == 0
    again = infocl("search", paths[0], "--in", table, "-k", 30, "--index", index).stdout.splitlines()
    assert again[0] == f"Building an index of 9 rows in {index} ..."
    assert len(again) == 2 + 8


def test_a_folder_that_is_no_index_or_is_damaged_is_left_alone(refuses, table, infocl, tmp_path):
    paths, _ = read(table)
    photos = tmp_path / "photos"
    command = ("search", paths[0], "--in", table, "--index")
    assert f"{photos} is not an index of infocl search" in refuses(*command, photos)
    assert len(list(photos.iterdir())) == 10
    index = tmp_path / "index"
    assert infocl(*command, index).exit_code == 0
    (index / "graph.faiss").write_bytes(b"no graph")
    assert "graph.faiss cannot be used (" in refuses(*command, index)


def test_the_page_shows_queries_beside_their_neighbours_and_needs_no_file(folder, infocl, table, tmp_path):
    """Without a query: rows spread over the table."""
    paths, embeddings = read(table)
    page = tmp_path / "neighbours.html"
    (tmp_path / "photos/9.png").rename(tmp_path / "photos/gone")
    result = infocl("search", "--in", table, "-k", 2, "--page", page)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == f"{page} shows them."
    html = page.read_text()
    assert not re.search(r'(src|href)="(?!data:)', html)
    rows = html.split('<section class="row">')[1:]
    assert len(rows) == 10
    for number, row in enumerate(rows):
        titles = re.findall(r'<figure title="([^"]+)">', row)
        order, cosines = naive(embeddings, embeddings[number], 3)
        assert titles == [paths[place] for place in order]
        assert re.findall(r"<figcaption>(\S+)<br>", row) == ["query", *(f"{c:.3f}" for c in cosines[1:])]
    shown = re.findall(r'alt="([^"]+)" src="data:image/png;base64,([^"]+)"', html)
    assert {path for path, _ in shown} == set(paths[:-1])
    for path, data in shown:
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        np.testing.assert_array_equal(picture, np.asarray(Image.open(path)))
    assert '<span class="absent">not here</span>' in html


def test_what_cannot_be_searched_is_named(folder, refuses, table, tmp_path):
    assert "nowhere.png is neither a path in" in refuses("search", "nowhere.png", "--in", table)
    assert "is no Parquet file nor a folder of them" in refuses("search", "--in", tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("text")
    assert "text.parquet cannot be read as Parquet" in refuses("search", "--in", tmp_path / "text.parquet")
    pq.write_table(pa.table({"path": ["a"]}), tmp_path / "other.parquet")
    assert "has not the columns and metadata" in refuses("search", "--in", tmp_path / "other.parquet")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    arguments = ("--in", table, "--encoder", folder)
    assert "broken.png cannot be read as an image" in refuses("search", broken, *arguments)


def test_a_query_is_not_embedded_by_another_encoder(folder, refuses, table, tmp_path):
    rows = pq.read_table(table)
    about = json.loads(rows.schema.metadata[b"infocl"]) | {"encoder_sha256": "ab" * 32}
    pq.write_table(rows.replace_schema_metadata({"infocl": json.dumps(about)}), table)
    Image.new("RGB", (20, 20)).save(tmp_path / "query.png")
    message = refuses("search", tmp_path / "query.png", "--in", table, "--encoder", folder)
    assert f"{table} was made by another encoder than {folder / 'encoder.onnx'}" in message
