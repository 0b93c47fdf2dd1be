"""The two residual blocks of He et al., with the names of weights that other ResNets use."""

from __future__ import annotations

from torch import Tensor, nn


def conv3x3(channels: int, out: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps the side at stride 1, without bias."""
    return nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)


def conv1x1(channels: int, out: int, stride: int = 1) -> nn.Conv2d:
    """A 1x1 convolution without bias."""
    return nn.Conv2d(channels, out, 1, stride=stride, bias=False)


def shortcut(channels: int, out: int, stride: int) -> nn.Sequential | None:
    """The projection beside a block that changes shape; None where the input itself fits."""
    if stride == 1 and channels == out:
        return None
    return nn.Sequential(conv1x1(channels, out, stride), nn.BatchNorm2d(out))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut.

    Args:
        channels: of the input maps.
        width: channels of both convolutions and of the output.
        stride: of the first convolution.
        downsample: of the input, where its shape is not the output's; it is added to the output.

    Reference: He et al., "Deep Residual Learning", CVPR 2016, figure 5 left.
    """

    expansion = 1

    def __init__(
        self, channels: int, width: int, stride: int = 1, downsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv3x3(channels, width, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv3x3(width, width), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, channels, H, W) to (B, width, H / stride, W / stride)."""
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(maps)))))
        out += maps if self.downsample is None else self.downsample(maps)
        return nn.functional.relu(out, inplace=True)


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 ones, beside a shortcut.

    The stride is in the 3x3 convolution rather than in the first one, as in most implementations
    (ResNet v1.5).

    Args:
        channels: of the input maps.
        width: channels of the 3x3 convolution; the output has four times as many.
        stride: of the 3x3 convolution.
        downsample: of the input, where its shape is not the output's; it is added to the output.

    Reference: He et al., "Deep Residual Learning", CVPR 2016, figure 5 right.
    """

    expansion = 4

    def __init__(
        self, channels: int, width: int, stride: int = 1, downsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv1x1(channels, width), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv3x3(width, width, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv1x1(width, 4 * width), nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, channels, H, W) to (B, 4 * width, H / stride, W / stride)."""
        out = self.relu(self.bn1(self.conv1(maps)))
        out = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(out)))))
        out += maps if self.downsample is None else self.downsample(maps)
        return nn.functional.relu(out, inplace=True)
