"""GTSRB, traffic signs: the official test set, because frames of one track are nearly the same image."""

from __future__ import annotations

from pathlib import Path

from torchvision.datasets import GTSRB

from infocl.data.folder.layouts import Entry
from infocl.data.raw import RawSet, Request
from infocl.data.sets.fetch import Remote
from infocl.data.sets.pictures import Listing, Published, listed, load_pictures

BASE = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/"
GTSRB_SET = Published(
    "gtsrb",
    (  # as torchvision downloads them
        Remote(
            f"{BASE}GTSRB-Training_fixed.zip", "513f3c79a4c5141765e10e952eaa2478", "GTSRB/Training", "gtsrb"
        ),
        Remote(
            f"{BASE}GTSRB_Final_Test_Images.zip",
            "c7e4e6327067d32654124b0fe9e82185",
            "GTSRB/Final_Test/Images",
            "gtsrb",
        ),
        Remote(
            f"{BASE}GTSRB_Final_Test_GT.zip", "fe31e9c9270bbcd7b84b7f21a9d9d9e5", "GT-final_test.csv", "gtsrb"
        ),
    ),
    {"train": 26_640, "test": 12_630},
    "German Traffic Sign Recognition Benchmark (https://benchmark.ini.rub.de), official test set",
    "unknown (published for research)",
)
# The files only number them.
CLASSES = [
    *(f"speed limit {limit}" for limit in (20, 30, 50, 60, 70, 80)),
    *("end of speed limit 80", "speed limit 100", "speed limit 120"),
    *("no passing", "no passing for vehicles over 3.5 t", "priority at the next crossing", "priority road"),
    *("yield", "stop", "no vehicles", "no vehicles over 3.5 t", "no entry", "danger"),
    *("curve to the left", "curve to the right", "double curve", "bumpy road", "slippery road"),
    *("road narrows on the right", "road works", "traffic signals", "pedestrians", "children"),
    *("bicycles", "ice or snow", "wild animals", "end of all limits"),
    *("turn right", "turn left", "straight on", "straight on or right", "straight on or left"),
    *("keep right", "keep left", "roundabout", "end of no passing"),
    "end of no passing for vehicles over 3.5 t",
]


def load_gtsrb(request: Request) -> RawSet:
    """GTSRB, 43 signs, 15 to 250 px, not cropped to the sign (Stallkamp et al. 2012)."""

    def read(raw: Path) -> Listing:
        root = raw / "gtsrb"
        entries: list[Entry] = []
        for part in ("train", "test"):
            files, labels = zip(*GTSRB(raw, part)._samples, strict=True)
            entries += listed(root, part, files, labels)
        return Listing(root, entries, CLASSES)

    return load_pictures(request, GTSRB_SET, read)
