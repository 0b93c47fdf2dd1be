"""The report's page, built and read as a browser reads it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from infocl.report.build import build_report
from infocl.runtime.files import read_json, write_json
from tests.tiny_run import tiny_params

PAGE = Path("report/index.html")
VOID = {"meta", "link", "img", "br", "input"}


class Page(HTMLParser):
    """Elements as (tag, attributes), the text of each tag, and a check that all are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.open = [], [], []
        self.feed(text.replace("\u00a0", " "))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, *tags):
        return " ".join(" ".join(data for tag, data in self.texts if not tags or tag in tags).split())


def build(**params):
    metrics = build_report(tiny_params(**params))
    return Page(PAGE.read_text(encoding="utf-8")), metrics


def change(path, **values):
    write_json(Path(path), read_json(Path(path), "") | values)
