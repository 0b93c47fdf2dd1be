"""The encoder against torchvision's ResNet, its stems and widths, and its files."""

from __future__ import annotations

import json

import pytest
import torch
import torchvision

from infocl.config import EncoderParams
from infocl.encoder.files import load_encoder, save_encoder
from infocl.encoder.network import Encoder
from infocl.runtime.errors import UserError

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


def build(arch="resnet18", stem="cifar", width=0.125):
    torch.manual_seed(0)
    return Encoder(
        EncoderParams(arch=arch, stem=stem, width=width, init="he", normalization="dataset"), MEAN, STD
    )


@pytest.mark.parametrize("arch", ["resnet18", "resnet34", "resnet50"])
def test_imagenet_network_is_torchvisions(arch):
    encoder = build(arch, "imagenet", 1.0).eval()
    reference = getattr(torchvision.models, arch)(weights=None).eval()
    reference.fc = torch.nn.Identity()
    ours = [value for name, value in encoder.state_dict().items() if name not in ("mean", "std")]
    theirs = reference.state_dict()
    assert [v.shape for v in ours] == [v.shape for v in theirs.values()]
    reference.load_state_dict(dict(zip(theirs, ours, strict=True)))
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(encoder(images), reference(encoder.normalize(images)))


@pytest.mark.parametrize(("stem", "size", "side"), [("cifar", 32, 4), ("stl", 64, 4), ("imagenet", 64, 2)])
def test_stems_keep_the_last_map_useful(stem, size, side):
    encoder = build(stem=stem)
    maps = []
    encoder.levels[-1].register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    encoder(torch.rand(2, 3, size, size))
    assert maps[0].shape[-2:] == (side, side)


@pytest.mark.parametrize(("width", "dims"), [(0.125, (16, 32, 64)), (1.0, (128, 256, 512))])
def test_levels_are_pooled_features(width, dims):
    encoder = build(width=width)
    levels = encoder.forward_levels(torch.randn(3, 3, 16, 16))
    assert tuple(level.shape for level in levels) == tuple((3, d) for d in dims)
    assert encoder.level_dims == dims
    assert encoder.dim == dims[-1]


def test_one_image_and_normalisation():
    encoder = build().eval()
    image = torch.rand(1, 3, 32, 32)
    assert encoder(image).shape == (1, 64)
    expected = (image - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(encoder.normalize(image), expected)


def test_files_give_back_the_same_encoder(tmp_path):
    encoder = build().eval()
    save_encoder(tmp_path, encoder, {"objective": "simclr"})
    again, config = load_encoder(tmp_path)
    images = torch.rand(4, 3, 32, 32)
    assert torch.equal(again(images), encoder(images))
    assert not again.training
    assert config["objective"] == "simclr"
    assert config["dim"] == 64


def _truncate(folder):
    path = folder / "encoder.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _flip_a_bit(folder):
    path = folder / "encoder.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _swap_weights(folder):
    save_encoder(folder / "other", build(width=0.25), {})
    (folder / "other" / "encoder.safetensors").replace(folder / "encoder.safetensors")


def _swap_config(folder):
    config = json.loads((folder / "config.json").read_text())
    config["encoder"]["width"] = 0.25
    (folder / "config.json").write_text(json.dumps(config))


def _pickle(folder):
    torch.save(build().state_dict(), folder / "encoder.safetensors")
    config = json.loads((folder / "config.json").read_text())
    from infocl.runtime.files import sha256_file

    config["weights_sha256"] = sha256_file(folder / "encoder.safetensors")
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    "harm",
    [
        _truncate,
        _flip_a_bit,
        _swap_weights,
        _swap_config,
        _pickle,
        lambda folder: (folder / "encoder.safetensors").unlink(),
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "config.json").write_text("{"),
        lambda folder: (folder / "config.json").write_text('{"format": 99}'),
    ],
)
def test_wrong_files_are_named(tmp_path, harm):
    folder = tmp_path / "pretrain"
    (folder / "other").mkdir(parents=True)
    save_encoder(folder, build(), {})
    harm(folder)
    with pytest.raises(UserError, match=r"(encoder\.safetensors|config\.json).*dvc repro pretrain") as caught:
        load_encoder(folder)
    assert "\n" not in str(caught.value)
