"""The stage detect: fine-tune a detector on the encoder, judge it, and show what it finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from infocl.config import Params
from infocl.config.detection import DetectionParams
from infocl.detection.annotated import AnnotatedSet
from infocl.detection.coco import read_coco
from infocl.detection.evaluate import Found, average_precision, encode_masks
from infocl.detection.network import build_detector
from infocl.detection.pictures import write_examples
from infocl.detection.train import WEIGHTS, fingerprint, train_detector
from infocl.detection.voc import read_voc
from infocl.encoder.files import load_encoder
from infocl.encoder.numerics import derive_seed
from infocl.runtime.checkpoint import Checkpoints
from infocl.runtime.device import choose_device, describe_device
from infocl.runtime.errors import RetryableError
from infocl.runtime.files import replacing, replacing_folder, sha256_file, write_json
from infocl.runtime.paths import CHECKPOINTS, DETECTION, PRETRAIN, raw_folder

READERS = {"voc": read_voc, "coco": read_coco}
WEIGHTS_FILE = "detector.safetensors"
EXAMPLES = 6  # images in the picture


def read_splits(params: DetectionParams) -> tuple[AnnotatedSet, AnnotatedSet]:
    """The sets trained on and judged on; images with nothing to learn from are left out of the first.

    Raises:
        UserError: a file is missing or corrupt, or a set holds no object that counts.
    """
    read, root, masks = READERS[params.layout], raw_folder(params.root), params.masks
    train = read(root, params.train, masks=masks)
    train.require_objects("detection.train")
    test = read(root, params.test, masks=masks, classes=train.classes)
    test.require_objects("detection.test")
    return train.trainable(), test


def detect(params: Params, confirm: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """Stage detect: `models/detection/` holds weights, history and a picture of what is found.

    Args:
        params: validated; without `detection.tasks` boxes are learned.
        confirm: called before the checkpoint is removed; what it raises leaves the training complete there.

    Returns:
        `boxes` and, with masks, `masks` as of `average_precision`; the last loss and what was done.

    Raises:
        UserError: the encoder or the annotated images are missing or corrupt, or memory does not suffice.
        InfoCLError: the loss is no longer finite.
    """
    chosen = params.detection
    device = choose_device(params.train.device)
    encoder, about = load_encoder(PRETRAIN)
    train, test = read_splits(chosen)
    torch.manual_seed(derive_seed(params.seed, WEIGHTS))
    half = params.train.precision == "bf16"
    detector = build_detector(encoder, chosen, len(train.classes), half=half).to(device)
    checkpoints = Checkpoints(CHECKPOINTS, fingerprint(params, train, about["weights_sha256"]))
    try:
        history = train_detector(detector, train, params, device, checkpoints)
        found = find(detector, test, device)
    except torch.OutOfMemoryError:
        raise RetryableError(
            f"the memory of {device} does not hold a batch of detection.batch_size {chosen.batch_size}; make "
            "it or detection.shorter_sides smaller, or wait until others leave the device"
        ) from None
    scores = {
        kind: average_precision(test, found, kind, chosen.max_detections)
        for kind in (("boxes", "masks") if chosen.masks else ("boxes",))
    }
    with replacing_folder(DETECTION) as folder:
        _save(folder, detector, params, train.classes, about["weights_sha256"])
        history.write(folder / "history.csv")
        shown = AnnotatedSet(test.classes, test.images[:EXAMPLES])
        write_examples(folder / "examples.png", shown, found[:EXAMPLES])
    confirm()
    checkpoints.remove()
    print(describe_scores(scores, len(test.images)), flush=True)
    return {
        **scores,
        "images": len(test.images),
        "train_images": len(train.images),
        "classes": len(train.classes),
        "iterations": chosen.iterations,
        "loss": history.rows[-1]["loss"],
        "images_per_second": history.images_per_second(),
        "device": describe_device(device),
    }


def describe_scores(scores: Mapping[str, Mapping[str, float]], images: int) -> str:
    """What was measured, as a person would say it."""
    figures = [
        f"{kind} have an AP of {each['ap']:.1%} (AP50 {each['ap50']:.1%}, AP75 {each['ap75']:.1%})"
        for kind, each in scores.items()
    ]
    return f"On {images} test images, {' and '.join(figures)}."


@torch.no_grad()
def find(detector: nn.Module, data: AnnotatedSet, device: torch.device) -> list[Found]:
    """What the detector finds on each image, one at a time; it is left in evaluation mode."""
    detector.eval()
    found = []
    for image in data.images:
        pixels = image.load().to(device).float() / 255
        (output,) = detector([pixels])
        arrays = {name: value.cpu().numpy() for name, value in output.items()}
        masks = encode_masks(arrays["masks"][:, 0] > 0.5) if "masks" in arrays else None
        found.append(Found(arrays["boxes"], arrays["labels"], arrays["scores"], masks))
    return found


def _save(
    folder: Path, detector: nn.Module, params: Params, classes: tuple[str, ...], encoder_sha256: str
) -> None:
    weights = {name: value.detach().cpu().contiguous() for name, value in detector.state_dict().items()}
    with replacing(folder / WEIGHTS_FILE) as temporary:
        temporary.write_bytes(save(weights))
    about = {
        "format": 1,
        "classes": list(classes),
        "detection": params.detection.model_dump(),
        "seed": params.seed,
        "encoder_sha256": encoder_sha256,
        "weights_sha256": sha256_file(folder / WEIGHTS_FILE),
    }
    write_json(folder / "config.json", about)
