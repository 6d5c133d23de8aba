"""The published residual network for white blood cells (5 classes) and CAM16 (2 classes)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.initialisation import initialise, stream


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a 1x1 projection; each with batch norm, joined before the last ReLU.

    The published network projects in every block, also where shapes would allow the identity.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        # Batch norm follows each convolution and makes a bias redundant.
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.downsample = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False), nn.BatchNorm2d(channels_out)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels_in, H, W) to (B, channels_out, ceil(H / stride), ceil(W / stride))."""
        residual: Tensor = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        joined: Tensor = self.relu(residual + self.downsample(x))
        return joined


class ResidualClassifier(nn.Module):
    """3x3 stem, three stages of two residual blocks (strides 1, 2, 2), global average pool, linear head.

    At width 32: 719,013 parameters with 5 classes, 718,626 with 2. Its state-dict keys are those of the published
    weights. Building one leaves torch's global generator as it was.

    Args:
        classes: Number of logits, at least 1.
        width: Channels of the stem and the first stage; the stages have 1, 2 and 4 times as many.
        generator: CPU generator for the initial weights (see `initialise`); `stream(0, "classifier")` where None.
        norm_momentum: Weight of the newest batch in batch norm's running statistics, as in torch; raise it for trainings of
            so few steps that the statistics would still be those of the start.

    Attributes:
        classes: As given.
        width: As given.
        feature_size: Length of the pooled features, 4 * width.
    """

    def __init__(
        self,
        classes: int = 5,
        width: int = 32,
        generator: torch.Generator | None = None,
        norm_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        if classes < 1 or width < 1:
            raise ValueError(f"classes and width must be at least 1, got classes={classes}, width={width}")
        self.classes = classes
        self.width = width
        self.feature_size = 4 * width
        # Constructors of layers draw from the global generator; those draws are undone here and overwritten below.
        with torch.random.fork_rng(devices=[]):
            self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.relu = nn.ReLU(inplace=True)
            self.layer1 = _stage(width, width, stride=1)
            self.layer2 = _stage(width, 2 * width, stride=2)
            self.layer3 = _stage(2 * width, 4 * width, stride=2)
            self.fc = nn.Linear(4 * width, classes)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = norm_momentum
        initialise(self, stream(0, "classifier") if generator is None else generator)

    def start_from(self, trained: ResidualClassifier) -> None:
        """Take over the weights and statistics of a trained network of the same width, all but those of the head.

        Args:
            trained: A network of any number of classes; copied, not shared.

        Raises:
            ValueError: The widths differ.
        """
        if trained.width != self.width:
            raise ValueError(
                f"a classifier of width {self.width} cannot start from one of width {trained.width}; give both the same"
            )
        trunk = {name: tensor for name, tensor in trained.state_dict().items() if not name.startswith("fc.")}
        self.load_state_dict(trunk | {f"fc.{name}": tensor for name, tensor in self.fc.state_dict().items()})

    def freeze_trunk(self, frozen: bool) -> None:
        """Train the head alone, or everything.

        A frozen trunk is in evaluation mode, so that batch norm keeps its statistics; call this after `train`, which would
        set it back.
        """
        for name, layer in self.named_children():
            if name != "fc":
                layer.requires_grad_(not frozen)
                if frozen:
                    layer.eval()

    @property
    def last_stage(self) -> nn.Module:
        """The layer whose output `feature_maps` returns, for hooks."""
        return self.layer3

    def feature_maps(self, x: Tensor) -> Tensor:
        """Last feature maps, after a ReLU: float (B, 3, H, W) to (B, 4 * width, ceil(H / 4), ceil(W / 4))."""
        stem = self.relu(self.bn1(self.conv1(x)))
        maps: Tensor = self.layer3(self.layer2(self.layer1(stem)))
        return maps

    def features(self, x: Tensor) -> Tensor:
        """Globally average-pooled feature maps: float (B, 3, H, W) to (B, 4 * width), what the head sees."""
        # A mean instead of adaptive pooling: its gradient is deterministic on CUDA too.
        return self.feature_maps(x).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Logits: float (B, 3, H, W) to (B, classes)."""
        logits: Tensor = self.fc(self.features(x))
        return logits


def _stage(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        ResidualBlock(channels_in, channels_out, stride), ResidualBlock(channels_out, channels_out, stride=1)
    )
