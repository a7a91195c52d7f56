"""One `fit`, any number of processes. Taught in notebook 10.

One process:      python -m helpers.examples.multi_process
Two on the CPU:   torchrun --standalone --nproc-per-node 2 \
                      -m helpers.examples.multi_process
Every GPU here:   accelerate launch -m helpers.examples.multi_process
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import socket
import subprocess
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

import helpers
from helpers.datasets import openmoji

__all__ = ["launch", "main", "make_room"]


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


def launch(number: int, module: str = "helpers.examples.multi_process") -> str:
    """Start ``module`` in ``number`` processes on this CPU; return what they printed.

    Raises `RuntimeError` with the last words of a process that failed.
    """
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    place = {"WORLD_SIZE": str(number), "MASTER_ADDR": "localhost"}
    place |= {"MASTER_PORT": str(port), "CUDA_VISIBLE_DEVICES": ""}
    place |= {"OMP_NUM_THREADS": "1"}
    make_room()
    workers = []
    try:
        for rank in map(str, range(number)):
            one = os.environ | place | {"RANK": rank, "LOCAL_RANK": rank}
            workers.append(
                subprocess.Popen(
                    [sys.executable, "-m", module],
                    env=one,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        said = [worker.communicate() for worker in workers]
    finally:  # also after Ctrl-C
        for worker in workers:
            worker.kill()
    for worker, (_, errors) in zip(workers, said, strict=True):
        if worker.returncode:
            raise RuntimeError(f"a process ended with {worker.returncode}: {errors}")
    return "".join(words for words, _ in said)


def make_room() -> None:
    """Give memory that is free in this process back to the system; glibc keeps it."""
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


if __name__ == "__main__":
    main()
