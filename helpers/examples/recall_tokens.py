"""Small networks that recall the token k places back. See notebook 06.

One block of attention stands against a GRU and two convolutions of about the same size;
stacks of blocks, post-LN and pre-LN, show what a norm's place does to training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.models.distilbert import modeling_distilbert

__all__ = ["NETWORKS", "SYMBOLS", "Attention", "Convolutions", "Recurrent", "Run"]
__all__ += ["sequences", "train"]

SYMBOLS, WIDTH = 8, 32


@cache
def _sines(places: int) -> torch.Tensor:
    table = torch.empty(places, WIDTH, dtype=torch.float32)
    modeling_distilbert.create_sinusoidal_embeddings(places, WIDTH, table)
    return table


class Attention(nn.Module):
    """Blocks of causal self-attention on symbols and sines of their places."""

    def __init__(self, depth: int = 1, norm_first: bool = True) -> None:
        super().__init__()
        self.symbol = nn.Embedding(SYMBOLS, WIDTH)
        layer: dict[str, Any] = {"dropout": 0.0, "batch_first": True}
        layer["norm_first"] = norm_first
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, **layer)
            for _ in range(depth)
        )
        for matrix in (p for p in self.blocks.parameters() if p.ndim > 1):
            nn.init.xavier_uniform_(matrix)
        self.norm = nn.LayerNorm(WIDTH) if norm_first else nn.Identity()
        self.head = nn.Linear(WIDTH, SYMBOLS)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Scores (n, places, symbols) from tokens (n, places)."""
        n = tokens.shape[1]
        hidden = torch.ones(n, n, dtype=torch.bool).triu(1)
        x = self.symbol(tokens) + _sines(n)
        for block in self.blocks:
            x = block(x, src_mask=hidden)
        return self.head(self.norm(x))


class Recurrent(nn.Module):
    """A GRU: all that it keeps of the past are 48 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.symbol = nn.Embedding(SYMBOLS, WIDTH)
        self.gru = nn.GRU(WIDTH, 48, batch_first=True)
        self.head = nn.Linear(48, SYMBOLS)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Scores (n, places, symbols) from tokens (n, places)."""
        return self.head(self.gru(self.symbol(tokens))[0])


class Convolutions(nn.Module):
    """Two convolutions over five places each: together they see eight places back."""

    def __init__(self) -> None:
        super().__init__()
        self.symbol = nn.Embedding(SYMBOLS, WIDTH)
        self.layers = nn.ModuleList(nn.Conv1d(WIDTH, WIDTH, 5) for _ in range(2))
        self.head = nn.Linear(WIDTH, SYMBOLS)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Scores (n, places, symbols) from tokens (n, places)."""
        x = self.symbol(tokens).transpose(1, 2)
        for layer in self.layers:
            x = x + functional.relu(layer(functional.pad(x, (4, 0))))
        return self.head(x.transpose(1, 2))


NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "attention": Attention,
    "GRU": Recurrent,
    "convolution": Convolutions,
    "post-LN": lambda: Attention(8, norm_first=False),
    "pre-LN": lambda: Attention(8, norm_first=True),
}


@dataclass(frozen=True)
class Run:
    """A trained network.

    Attributes:
        losses: of every step.
        valid, test: shares of right answers on 500 sequences each.
    """

    model: nn.Module
    losses: list[float]
    valid: float
    test: float


def sequences(count: int, places: int, seed: int) -> torch.Tensor:
    """Random symbols (count, places); training uses seeds below 1000."""
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(0, SYMBOLS, (count, places), generator=draws)


@contextmanager
def _small() -> Iterator[None]:
    """One thread and float32: for matrices this small, more of either only costs."""
    threads, before = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(before)


def _right(model: nn.Module, tokens: torch.Tensor, distance: int) -> float:
    with torch.inference_mode():
        guess = model(tokens)[:, distance:].argmax(dim=-1)
    return (guess == tokens[:, :-distance]).double().mean().item()


@_small()
def train(
    network: str,
    distance: int,
    *,
    lr: float,
    seed: int = 0,
    steps: int = 120,
    warm_up: int = 20,
    places: int = 24,
) -> Run:
    """Train a network to name the token ``distance`` places back, on fresh sequences.

    Adam on batches of 32; the rate climbs for ``warm_up`` steps and falls to zero.
    Wherever there is no token so far back, nothing is asked. It runs in float32 and
    on one thread, whatever is set, and leaves both settings as they were.

    Raises:
        ValueError: ``distance`` leaves no place to ask.
    """
    if not 0 < distance < places:
        raise ValueError(f"distance={distance}: give 1 to {places - 1}.")
    torch.manual_seed(seed)
    model, losses = NETWORKS[network](), []
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    all_tokens = sequences(32 * steps, places, seed).split(32)
    for number, tokens in enumerate(all_tokens):
        climb = min(1.0, (number + 1) / warm_up) if warm_up else 1.0
        optimizer.param_groups[0]["lr"] = lr * climb * (1 - number / steps)
        scores = model(tokens)[:, distance:].flatten(0, 1)
        loss = functional.cross_entropy(scores, tokens[:, :-distance].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    valid, test = (
        _right(model, sequences(500, places, s), distance) for s in (1001, 1002)
    )
    return Run(model, losses, valid, test)
