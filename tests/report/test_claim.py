"""The page's first picture: both encoders beside what needs no training."""

from __future__ import annotations

from tests.report.test_build import build, change, percent
from tests.tiny_run import comparison


def lanes(page):
    """The first picture by task: its label, and what is drawn there as (kind, place), then intervals."""
    drawn, label = {}, None
    for tag, each in page.elements:
        if tag == "svg" and each.get("class") == "lanes":
            label = each["aria-label"]
            drawn[label] = []
        elif tag == "h3":
            label = None
        elif label and tag in ("rect", "circle"):
            drawn[label].append((each["class"].removeprefix("mark of-"), each.get("x") or each["cx"]))
        elif label and tag == "line" and each["class"].startswith("ci "):
            drawn[label].append((each["class"].removeprefix("ci of-"), (each["x1"], each["x2"])))
    return {label.split(":")[0]: (label, things) for label, things in drawn.items()}


def test_the_first_picture_draws_every_figure_with_its_interval_and_says_the_same(project):
    found = comparison()
    found["hue"]["verdict"] = "brought back"
    found["imported"] = "resnet50 from theirs.safetensors, at 224 px"
    for row in (row for row in found.values() if isinstance(row, dict)):
        row["imported"], row["ci95"]["imported"] = 0.77, [0.71, 0.83]
    change("metrics/details/compare.json", **found)
    page, _ = build()
    assert next(each["id"] for each in page.all("section")) == "claim"
    pictures = lanes(page)
    assert list(pictures) == ["scenes", "hue", "place", "photos"]
    for row in (row for row in found.values() if isinstance(row, dict)):
        label, things = pictures[row["name"]]
        for kind in ("raw", "histogram", "untrained", "imported", "plain", "regularised"):
            low, high = row["ci95"][kind]
            assert (kind, f"{100 * row[kind]:.2f}%") in things
            assert (kind, (f"{100 * low:.2f}%", f"{100 * high:.2f}%")) in things
            assert f"{percent(row[kind])} % (95 % interval {percent(low)} to {percent(high)} %)" in label
        sign = "+" if row["difference"] >= 0 else "−"
        assert f"regularised − plain: {sign}{abs(100 * row['difference']):.1f} points" in label
    assert "brought back" in pictures["hue"][0]
    assert "brought back" in page.text("div")
    assert "imported (resnet50 from theirs.safetensors, at 224 px)" in page.text("li")
    assert "The imported encoder was trained elsewhere" in page.text("p")
    assert "speak of one training seed" in page.text("figcaption")


def test_the_first_picture_shows_one_encoder_where_there_is_one(project):
    change("metrics/details/compare.json", **comparison(regularised=None, regularizer="none", untrained=None))
    page, _ = build()
    assert {kind for kind, _ in lanes(page)["hue"][1]} == {"raw", "histogram", "plain"}
    assert "reg.name is none: there is one trained encoder" in page.text("p")
    assert "compare.untrained is 0" in page.text("p")
    assert "side by side" not in page.text("h2")
