"""Recall the token k places back: small networks, two tables. See notebook 06.

    python -m helpers.examples.recall_tokens

The first table sets one block of attention against a GRU and two convolutions, for
several k. The second trains stacks of twelve blocks, post-LN and pre-LN, with and
without warm-up. The learning rate of every row is chosen on validation sequences with
the first seed; the test sequences are read only with that rate. It takes about five
minutes with one thread. Interrupt it when you like: the same command continues after
the last finished row.
"""

from __future__ import annotations

import csv
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from transformers.models.distilbert import modeling_distilbert

from helpers.files import replacing

__all__ = ["DISTANCES", "NETWORKS", "RATES", "SYMBOLS", "TABLES", "Run", "Table"]
__all__ += ["Attention", "Convolutions", "Recurrent", "main", "sequences", "sweep"]
__all__ += ["train"]

RUNS = Path(__file__).parents[2] / "data" / "runs"
SYMBOLS, WIDTH = 8, 32
DISTANCES = (2, 8, 24)
SEEDS = (0, 1, 2)
RATES = (1e-3, 3e-3, 1e-2)
COLUMNS = ("network", "distance", "warm_up", "lr", "seed", "weights", "seconds")
COLUMNS += ("valid", "test")


class Attention(nn.Module):
    """Blocks of causal self-attention on symbols and sines of their places."""

    def __init__(self, depth: int = 1, norm_first: bool = True) -> None:
        super().__init__()
        self.symbol = nn.Embedding(SYMBOLS, WIDTH)
        layer = {"dropout": 0.0, "batch_first": True, "norm_first": norm_first}
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
        sines = torch.empty(n, WIDTH)
        modeling_distilbert.create_sinusoidal_embeddings(n, WIDTH, sines)
        hidden = torch.ones(n, n, dtype=torch.bool).triu(1)
        x = self.symbol(tokens) + sines
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
    "post-LN": lambda: Attention(12, norm_first=False),
    "pre-LN": lambda: Attention(12, norm_first=True),
}


@dataclass(frozen=True)
class Run:
    """A trained network: its loss at every step, its shares of right answers."""

    model: nn.Module
    losses: list[float]
    valid: float
    test: float


def sequences(count: int, places: int, seed: int) -> torch.Tensor:
    """Random symbols (count, places); training uses seeds below 1000."""
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(0, SYMBOLS, (count, places), generator=draws)


def _right(model: nn.Module, tokens: torch.Tensor, distance: int) -> float:
    with torch.inference_mode():
        guess = model(tokens)[:, distance:].argmax(dim=-1)
    return (guess == tokens[:, :-distance]).double().mean().item()


def train(
    network: str,
    distance: int,
    *,
    lr: float,
    seed: int = 0,
    steps: int = 200,
    warm_up: int = 20,
    places: int = 32,
) -> Run:
    """Train a network to name the token ``distance`` places back, on fresh sequences.

    Adam on batches of 32; the rate climbs for ``warm_up`` steps and falls to zero.
    Wherever there is no token so far back, nothing is asked.

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


@dataclass(frozen=True)
class Table:
    """What a table of runs tries.

    Attributes:
        rows: (network, distance, warm-up).
        every_rate: with all seeds; by default the first one chooses the rate.
    """

    name: str
    title: str
    rows: Sequence[tuple[str, int, int]]
    steps: int
    places: int
    every_rate: bool = False


TABLES = (
    Table(
        "06_recall.csv",
        "Recall the token k (distance) places back: 32 places, 8 symbols, 400 steps.",
        [(n, k, 20) for n in ("attention", "GRU", "convolution") for k in DISTANCES],
        400,
        32,
    ),
    Table(
        "06_warm_up.csv",
        "12 blocks recall the token 4 places back: 16 places, 8 symbols, 100 steps.",
        [(n, 4, w) for n in ("post-LN", "pre-LN") for w in (0, 50)],
        100,
        16,
        every_rate=True,
    ),
)


def sweep(
    folder: Path, tables: Sequence[Table] = TABLES, seeds: Sequence[int] = SEEDS
) -> None:
    """Write the tables into ``folder``; rows that are there already are not run again.

    The first seed tries all ``RATES``. What was best on its validation sequences is
    the row's rate: the other seeds take it, and only there ``test`` is filled.
    """
    for table in tables:
        rows = _read(folder / table.name)
        for network, distance, warm_up in table.rows:
            mine = (network, str(distance), str(warm_up))
            if any((r["network"], r["distance"], r["warm_up"]) == mine for r in rows):
                continue
            new, rates, best = [], RATES, 0.0
            for seed in seeds:
                tried = {lr: _row(table, *mine, lr, seed) for lr in rates}
                if seed == seeds[0]:
                    best = max(tried, key=lambda lr: float(tried[lr]["valid"]))
                    rates = RATES if table.every_rate else (best,)
                for lr, row in tried.items():
                    new.append(row if lr == best else {**row, "test": ""})
            rows += new
            _write(folder / table.name, table, rows)
            print(*mine, "lr", best, [row["test"] for row in new], flush=True)


def _row(
    table: Table, network: str, distance: str, warm_up: str, lr: float, seed: int
) -> dict[str, str]:
    start = time.process_time()
    run = train(
        network,
        int(distance),
        lr=lr,
        seed=seed,
        steps=table.steps,
        warm_up=int(warm_up),
        places=table.places,
    )
    seconds = time.process_time() - start
    weights = sum(p.numel() for p in run.model.parameters())
    values = [network, distance, warm_up, lr, seed, weights, f"{seconds:.1f}"]
    values += [f"{run.valid:.4f}", f"{run.test:.4f}"]
    return dict(zip(COLUMNS, map(str, values), strict=True))


def _read(target: Path) -> list[dict[str, str]]:
    if not target.exists():
        return []
    with target.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(line for line in file if line[0] != "#"))


def _write(target: Path, table: Table, rows: list[dict[str, str]]) -> None:
    total = sum(float(row["seconds"]) for row in rows)
    machine = f"{platform.machine()}, {torch.get_num_threads()} thread(s)"
    head = [
        table.title,
        "valid, test: share of right answers on 500 sequences each; test only with the",
        "rate that was best on valid with seed 0. seconds: of the processor.",
        "seeds: 0, 1, 2; command: python -m helpers.examples.recall_tokens",
        f"machine: {machine}, torch {torch.__version__}; trained {total:.0f} s in all",
    ]
    with (
        replacing(target) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        file.writelines(f"# {line}\n" for line in head)
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Fill both tables, or continue them."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        sweep(RUNS)
    except KeyboardInterrupt:
        print("interrupted; the same command continues", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
