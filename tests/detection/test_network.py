"""The detector stands on the encoder: its features, weights, statistics and scale."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.ops import FrozenBatchNorm2d

from infocl.config import EncoderParams
from infocl.detection.network import Pyramid, build_detector, level_maps
from infocl.encoder.network import Encoder
from tests.workspace import tiny_params

MEAN, STD = [0.3, 0.4, 0.5], [0.2, 0.25, 0.3]


def encoder(arch="resnet50", stem="stl", seed=0):
    torch.manual_seed(seed)
    made = Encoder(
        EncoderParams(arch=arch, stem=stem, width=0.125, init="he", normalization="dataset"), MEAN, STD
    ).train()
    with torch.no_grad():
        made(torch.rand(8, 3, 64, 64))  # running statistics that are not the initial ones
    return made.eval()


def detection(**changes):
    chosen = {"fpn_channels": 16, "rois_per_image": 16, "shorter_sides": [64], "longer_side": 96} | changes
    return tiny_params(**{f"detection__{name}": value for name, value in chosen.items()}).detection


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
@pytest.mark.parametrize("stem", ["cifar", "stl", "imagenet"])
def test_the_body_computes_the_encoders_own_levels(arch, stem):
    net = encoder(arch, stem)
    images = net.normalize(torch.rand(2, 3, 64, 96))
    body = build_detector(net, detection(), 3).eval().backbone.body
    with torch.no_grad():
        maps, pooled = list(body(images).values()), net.forward_levels(images)
        ours = level_maps(net, images)
    stride = {"cifar": 1, "stl": 2, "imagenet": 4}[stem]
    strides = [stride * 2**level for level in range(4)]
    assert [tuple(m.shape[2:]) for m in maps] == [(64 // side, 96 // side) for side in strides]
    for level, our in zip(maps, ours, strict=True):
        torch.testing.assert_close(level, our, rtol=0, atol=0)
    for level, pool in zip(maps[1:], pooled, strict=True):
        torch.testing.assert_close(level.mean((2, 3)), pool, rtol=0, atol=0)


def test_the_detector_normalises_as_the_encoder_does():
    net = encoder()
    image = torch.rand(3, 64, 64)
    batch, _ = build_detector(net, detection(), 3).eval().transform([image])
    torch.testing.assert_close(batch.tensors, net.normalize(image[None]))


def test_anchors_have_eight_cells_whatever_the_stem():
    for stem, sizes in (("imagenet", [32, 64, 128, 256, 512]), ("stl", [16, 32, 64, 128, 256])):
        generator = build_detector(encoder(stem=stem), detection(), 3).rpn.anchor_generator
        assert [size for (size,) in generator.sizes] == sizes


@pytest.mark.parametrize("trainable", [0, 2, 4, 5])
def test_only_the_chosen_levels_learn(trainable):
    learning = [0, 1, 2, 3, 4][5 - trainable :]
    body = Pyramid(encoder(), detection(trainable_levels=trainable), half=False).body
    for index, part in enumerate(body.values()):
        assert {parameter.requires_grad for parameter in part.parameters()} == {index in learning}
        kinds = {type(m) for m in part.modules() if isinstance(m, nn.BatchNorm2d | FrozenBatchNorm2d)}
        assert kinds == {nn.BatchNorm2d if index in learning else FrozenBatchNorm2d}


def test_frozen_batch_norm_computes_as_in_evaluation_and_tuned_batch_norm_by_the_batch():
    net = encoder()
    images = 2 + net.normalize(torch.rand(2, 3, 64, 64))
    expected = [maps.detach() for maps in level_maps(net, images)]
    frozen = Pyramid(copy.deepcopy(net), detection(batch_norm="frozen"), half=False).train()
    for got, want in zip(frozen.body(images).values(), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in frozen.modules())
    tuned = Pyramid(copy.deepcopy(net), detection(batch_norm="tuned"), half=False).train()
    assert not torch.allclose(tuned.body(images)["3"], expected[3], rtol=0.1)


def test_in_bfloat16_the_maps_are_near_and_come_out_in_float32():
    net = encoder()
    images = net.normalize(torch.rand(1, 3, 64, 64))
    torch.manual_seed(0)
    full = Pyramid(net, detection(), half=False).eval()
    torch.manual_seed(0)
    half = Pyramid(net, detection(), half=True).eval()
    with torch.no_grad():
        for want, got in zip(full(images).values(), half(images).values(), strict=True):
            assert got.dtype == torch.float32
            assert not torch.equal(got, want)
            assert (got - want).norm() < 0.05 * want.norm()


@pytest.mark.parametrize(("task", "kind"), [("boxes", FasterRCNN), ("masks", MaskRCNN)])
def test_the_task_decides_on_the_network(task, kind):
    chosen = detection(tasks=[task], score_threshold=0.0, max_detections=5)
    detector = build_detector(encoder(), chosen, 3).eval()
    assert type(detector) is kind
    with torch.no_grad():
        (output,) = detector([torch.rand(3, 48, 80)])
    assert ("masks" in output) == (task == "masks")
    assert len(output["scores"]) == 5
    assert output["labels"].max() <= 3
    if task == "masks":
        assert output["masks"].shape == (5, 1, 48, 80)


def test_published_widths_make_torchvisions_own_network():
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    net = Encoder(
        EncoderParams(arch="resnet50", stem="imagenet", width=1.0, init="he", normalization="dataset"),
        MEAN,
        STD,
    )
    shipped = detection(fpn_channels=256, tasks=["masks"], batch_norm="frozen")
    ours = build_detector(net, shipped, 90)
    reference = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91)

    def shapes(model):
        return sorted(tuple(p.shape) for p in model.parameters() if p.dim() > 1)

    assert shapes(ours) == shapes(reference)
