"""One `fit`, any number of processes. Taught in notebook 10.

One process:      python -m helpers.examples.multi_process
Two on the CPU:   python -m torch.distributed.run --nproc-per-node 2 \
                      -m helpers.examples.multi_process
Every GPU here:   accelerate launch -m helpers.examples.multi_process
"""

from __future__ import annotations

import os

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

import helpers
from helpers.datasets import openmoji


def main() -> None:
    """Train a new head on 128 drawings; every process prints nothing, but one."""
    torch.manual_seed(0)
    weights = MobileNet_V2_Weights.IMAGENET1K_V1
    train = openmoji("train", weights.transforms(resize_size=64, crop_size=64))
    loader = DataLoader(Subset(train, range(0, 512, 4)), batch_size=32, shuffle=True)

    model = helpers.freeze(mobilenet_v2(weights=weights))
    model.classifier = nn.Linear(model.last_channel, len(train.classes))
    history = helpers.fit(model, loader, epochs=2, progress=False)

    accuracy = helpers.evaluate(model, loader)["accuracy"]
    if int(os.environ.get("RANK", "0")) == 0:
        processes = os.environ.get("WORLD_SIZE", "1")
        loss = history.last["train_loss"]
        print(f"{processes} process(es): loss {loss:.3f}, accuracy {accuracy:.0%}")


if __name__ == "__main__":
    main()
