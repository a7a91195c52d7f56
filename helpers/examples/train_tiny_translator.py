"""Train the course's own translator, English to Chinese. Taught in notebook 14.

    python -m helpers.examples.train_tiny_translator

A frozen encoder, all-MiniLM-L6-v2, reads the English; what is trained, and stored in
data/tiny-translator, is a small decoder that looks at the encoder's vectors and writes
Chinese. The encoder never changes, so it runs once over the data. It takes about ten
minutes. Interrupt it when you like; the same command continues, and ends in the same
weights. With one of these words at the end of the command:

    report    the figures on the test pairs
    compare   what the pretrained encoder is worth: short runs with and without it
    leak      the same training and figures on a split by single texts
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sacrebleu.metrics import BLEU, CHRF
from sklearn.feature_extraction.text import TfidfVectorizer
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertLMHeadModel,
    BertModel,
    EncoderDecoderModel,
    GenerationConfig,
    MarianConfig,
    MarianMTModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

import helpers
from helpers.datasets import Pairs, ui_translations
from helpers.examples.pretrain_tiny_bert import adamw, one_cycle
from helpers.layers import count_parameters

__all__ = ["LengthBatches", "Reader", "Sentences", "bleu", "build_decoder", "collate"]
__all__ += ["compare", "encode", "join", "main", "scratch", "teacher"]
__all__ += ["train_tokenizer", "translate"]

TARGET = Path(__file__).parents[2] / "data" / "tiny-translator"
ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
SEED = 0
VOCAB_SIZE = 4000
BATCH = 96  # pairs of a step
EPOCHS = 22
MAX_LR = 2e-3
SMOOTHING = 0.1  # of the labels (Szegedy et al. 2016)
LONGEST = 96  # tokens of a translation

# Model, learning rate, epochs: about the same processor time each.
COMPARED = [
    ("last layer and words", 2e-3, 6),
    ("last layer", 2e-3, 6),
    ("from scratch", 5e-4, 5),
    ("from scratch", 1e-3, 5),
]

PAD, END, START = SPECIAL = ["<pad>", "</s>", "<s>"]
IGNORED = -100  # what cross_entropy skips

# Tokens --------------------------------------------------------------------------

# Words and numbers are cut apart from Chinese, so that pieces do not straddle both.
_PARTS = r"▁?[A-Za-z]+|▁?[0-9]|[\u4e00-\u9fff]+|▁|[^A-Za-z0-9\u4e00-\u9fff▁]+"


def train_tokenizer(
    lines: Sequence[str], vocab_size: int = VOCAB_SIZE
) -> PreTrainedTokenizerFast:
    """Byte-pair pieces of the lines. What has no piece is spelled in bytes."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Metaspace(prepend_scheme="never"),
        pre_tokenizers.Split(Regex(_PARTS), "isolated"),
    ])  # fmt: skip
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
    ])  # fmt: skip
    spelled = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[*SPECIAL, *spelled],
        limit_alphabet=2 * vocab_size // 3,
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, SPECIAL.index(END))]
    )
    # Only the trainer calls bytes special; they are text, and must not be skipped.
    settings = json.loads(tokenizer.to_str())
    settings["added_tokens"] = settings["added_tokens"][: len(SPECIAL)]
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(settings)),
        model_max_length=LONGEST,
        clean_up_tokenization_spaces=False,
        pad_token=PAD,
        eos_token=END,
        bos_token=START,
    )


# Data ----------------------------------------------------------------------------


class Sentences(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Pairs ready to train on: what the decoder looks at, and what it should write.

    Attributes:
        sources: vectors (length, width), or token ids (length,), of each English text.
        targets: token ids (length,) of each Chinese text, with the end token.
    """

    def __init__(
        self, sources: Sequence[torch.Tensor], targets: Sequence[Sequence[int]]
    ) -> None:
        self.sources = sources
        self.targets = [torch.tensor(ids) for ids in targets]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.sources[index], self.targets[index]


class LengthBatches(Sampler[list[int]]):
    """Batches of similar length in random order: little of the work is padding.

    Fifty batches are drawn at a time and sorted by the two sides' lengths.
    """

    def __init__(self, data: Sentences, size: int = BATCH) -> None:
        lengths = zip(data.targets, data.sources, strict=True)
        self.lengths = [(len(target), len(source)) for target, source in lengths]
        self.batch_size, self.drop_last = size, False
        self.generator = torch.Generator()

    def __len__(self) -> int:
        return math.ceil(len(self.lengths) / self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        size = self.batch_size
        order = torch.randperm(len(self.lengths), generator=self.generator).tolist()
        batches = []
        for begin in range(0, len(order), 50 * size):
            part = sorted(
                order[begin : begin + 50 * size], key=self.lengths.__getitem__
            )
            batches += [part[i : i + size] for i in range(0, len(part), size)]
        for index in torch.randperm(len(batches), generator=self.generator).tolist():
            yield batches[index]


def collate(rows: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, Any]:
    """Pad to the longest: source, its mask, and the tokens to write."""
    sources = pad_sequence([source for source, _ in rows], batch_first=True)
    lengths = torch.tensor([len(source) for source, _ in rows])
    wanted = pad_sequence([t for _, t in rows], True, padding_value=IGNORED)
    mask = (torch.arange(sources.shape[1]) < lengths[:, None]).long()
    return {"source": sources, "mask": mask, "wanted": wanted}


def encode(
    encoder: nn.Module, tokenizer: Any, texts: Sequence[str], size: int = 64
) -> list[torch.Tensor]:
    """The encoder's vectors of every text: (tokens, width) each, float16."""
    ids = tokenizer(list(texts)).input_ids
    order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    vectors: list[torch.Tensor] = [torch.empty(0)] * len(ids)
    for begin in range(0, len(order), size):
        some = order[begin : begin + size]
        batch = tokenizer.pad(
            {"input_ids": [ids[i] for i in some]}, return_tensors="pt"
        )
        with torch.inference_mode():
            hidden = encoder(**batch).last_hidden_state.half()
        for index, row in zip(some, hidden, strict=True):
            vectors[index] = row[: len(ids[index])].clone()
    return vectors


# Models --------------------------------------------------------------------------


class Reader(BertModel):
    """all-MiniLM-L6-v2, with each token's word vector added to what it became.

    The last layer was trained to tell what a whole sentence means. Which word stands
    where, a translator has to know too, and the first vectors say it.
    """

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As BertModel's; ``last_hidden_state`` is the sum."""
        kwargs |= {"output_hidden_states": True, "return_dict": True}
        output = super().forward(*args, **kwargs)
        output.last_hidden_state = output.last_hidden_state + output.hidden_states[0]
        return output


def build_decoder(
    vocab_size: int = VOCAB_SIZE, width: int = 384, layers: int = 2, inner: int = 768
) -> BertLMHeadModel:
    """A decoder with random weights that attends to vectors of the same width."""
    config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        intermediate_size=inner,
        max_position_embeddings=LONGEST,
        type_vocab_size=1,
        hidden_dropout_prob=0.2,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.03,
        is_decoder=True,
        add_cross_attention=True,
        **_ids(),
    )
    # On sentences of ten tokens plain attention is faster than the fused kind.
    return BertLMHeadModel._from_config(config, attn_implementation="eager")


def scratch(vocab_size: int = VOCAB_SIZE) -> MarianMTModel:
    """The rival: encoder and decoder of about the same size, all of it random."""
    config = MarianConfig(
        vocab_size=vocab_size,
        decoder_vocab_size=vocab_size,
        d_model=256,
        encoder_layers=3,
        decoder_layers=2,
        encoder_ffn_dim=1024,
        decoder_ffn_dim=1024,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        dropout=0.1,
        attention_dropout=0.0,
        max_position_embeddings=160,
        scale_embedding=True,
        init_std=256**-0.5,
        forced_eos_token_id=None,
        **_ids(),
    )
    return MarianMTModel._from_config(config, attn_implementation="eager")


def _ids() -> dict[str, Any]:
    names = ("pad_token_id", "eos_token_id", "bos_token_id")
    ids = {name: index for index, name in enumerate(names)}
    return ids | {"decoder_start_token_id": ids["bos_token_id"]}


def teacher(model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, None]:
    """A step for ``fit``: after the right tokens so far, guess the next one.

    Training spreads a tenth of each label over all tokens; validation does not.
    """
    source, mask, wanted = batch["source"], batch["mask"], batch["wanted"]
    start = wanted.new_full((len(wanted), 1), model.config.decoder_start_token_id)
    given = torch.cat([start, wanted[:, :-1]], dim=1)
    # After the end nothing counts, whatever is given there.
    given = given.masked_fill(given == IGNORED, model.config.pad_token_id)
    if source.is_floating_point():
        # The vectors are the same in every epoch; what is dropped from them is not.
        scores = model(
            input_ids=given,
            encoder_hidden_states=nn.functional.dropout(
                source.float(), 0.1, model.training
            ),
            encoder_attention_mask=mask,
        ).logits
    else:
        scores = model(source, attention_mask=mask, decoder_input_ids=given).logits
    loss = nn.functional.cross_entropy(
        scores.float().flatten(0, 1),
        wanted.flatten(),
        ignore_index=IGNORED,
        label_smoothing=SMOOTHING if model.training else 0.0,
    )
    return loss, None


# Translating ---------------------------------------------------------------------


def join(
    decoder: PreTrainedModel, encoder: PreTrainedModel | None = None
) -> EncoderDecoderModel:
    """Encoder and decoder as one model with ``generate``; it translates greedily."""
    encoder = encoder or Reader.from_pretrained(ENCODER)
    model = EncoderDecoderModel(encoder=encoder, decoder=decoder).eval()
    model.generation_config = GenerationConfig(max_new_tokens=LONGEST - 1, **_ids())
    return model


def translate(
    model: Any, english: Any, chinese: Any, texts: Sequence[str], **options: Any
) -> list[str]:
    """Translate texts in batches; ``options`` go to ``generate``.

    ``english`` and ``chinese`` are the tokenizers of the two sides.
    """
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    results = [""] * len(texts)
    for begin in range(0, len(order), BATCH):
        some = order[begin : begin + BATCH]
        batch = english([texts[i] for i in some], padding=True, return_tensors="pt")
        ids, mask = batch["input_ids"], batch["attention_mask"]
        with torch.inference_mode():
            written = model.generate(ids, attention_mask=mask, **options)
        lines = chinese.batch_decode(written, skip_special_tokens=True)
        for index, line in zip(some, lines, strict=True):
            results[index] = line
    return results


def bleu(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """BLEU in percent, over Chinese characters and other words."""
    metric = BLEU(tokenize="zh")
    return float(metric.corpus_score(list(hypotheses), [list(references)]).score)


def bleu_interval(
    references: Sequence[str],
    hypotheses: Sequence[str],
    rival: Sequence[str] | None = None,
    draws: int = 1000,
) -> tuple[float, float]:
    """95 % interval of BLEU from drawing the sentences anew (Koehn 2004).

    With a ``rival``, that of the difference to its BLEU on the same draws.
    """
    rows = [_counts(lines, references) for lines in (hypotheses, rival) if lines]
    drawn = np.random.default_rng(0).integers(
        len(references), size=(draws, len(references))
    )
    values = [[_bleu_of(row[index].sum(0)) for index in drawn] for row in rows]
    change = np.array(values[0]) - (values[1] if rival else 0)
    low, high = np.percentile(change, [2.5, 97.5])
    return float(low), float(high)


def _counts(hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
    metric = BLEU(tokenize="zh", effective_order=True)
    scores = [
        metric.sentence_score(line, [right])
        for line, right in zip(hypotheses, references, strict=True)
    ]
    return np.array([[*s.counts, *s.totals, s.sys_len, s.ref_len] for s in scores])


def _bleu_of(sums: np.ndarray) -> float:
    correct, total = sums[:4].tolist(), sums[4:8].tolist()
    return float(BLEU.compute_bleu(correct, total, *sums[8:].tolist()).score)


def memory(train: Pairs, texts: Sequence[str]) -> list[str]:
    """The rival that learns nothing: the translation of the most similar text.

    Similar in letters; on "valid" that was better than words and than MiniLM.
    """
    letters = TfidfVectorizer(analyzer="char", ngram_range=(2, 5), sublinear_tf=True)
    known = letters.fit_transform(train.en)
    cosines = letters.transform(texts) @ known.T
    return [train.zh[index] for index in np.asarray(cosines.argmax(1)).ravel()]


# The commands --------------------------------------------------------------------


ENCODERS = {"last layer and words": Reader, "last layer": BertModel}


def pretrained_side(
    *parts: Pairs, kind: type[BertModel] = Reader
) -> tuple[Any, list[list[torch.Tensor]]]:
    """The frozen encoder, its tokenizer, and its vectors of each part's English."""
    tokenizer = AutoTokenizer.from_pretrained(ENCODER)
    encoder = kind.from_pretrained(ENCODER).eval()
    return tokenizer, [encode(encoder, tokenizer, part.en) for part in parts]


def train(
    model: PreTrainedModel,
    parts: Sequence[Sentences],
    epochs: int,
    folder: str,
    lr: float = MAX_LR,
) -> pd.DataFrame:
    """Train in place; one row an epoch: step and losses."""
    data, valid = parts
    history = helpers.fit(
        model,
        DataLoader(data, batch_sampler=LengthBatches(data), collate_fn=collate),
        DataLoader(valid, BATCH, collate_fn=collate),
        epochs=epochs,
        optimizer=adamw(model, lr),
        scheduler=one_cycle,
        step=teacher,
        precision="bf16",
        save_every=100,
        folder=folder,
        seed=SEED,
    )
    if history.outcome == "interrupted":
        sys.exit("Interrupted. The same command continues from here.")
    table = history.table().reset_index()
    table.insert(1, "step", table["epoch"] * len(LengthBatches(data)))
    return table


def save(decoder: PreTrainedModel, tokenizer: Any, target: Path) -> None:
    """Store float16, half the size; what loads it calculates in float32 again."""
    decoder.generation_config = GenerationConfig(max_new_tokens=LONGEST - 1, **_ids())
    decoder.half().save_pretrained(target)
    config = json.loads((target / "config.json").read_text(encoding="utf-8"))
    config["dtype"] = "float32"
    text = json.dumps(config, indent=2) + "\n"
    (target / "config.json").write_text(text, encoding="utf-8")
    tokenizer.save_pretrained(target)


def main(
    target: Path = TARGET,
    epochs: int = EPOCHS,
    limit: int | None = None,
    by: str = "integration",
) -> None:
    """Make the checkpoint and its log. ``limit`` keeps so many pairs of each part."""
    helpers.setup(seed=SEED, needs=["ui-translations", "all-minilm-l6-v2"])
    parts = [ui_translations(s, limit, by) for s in ("train", "valid")]
    tokenizer = train_tokenizer(parts[0].zh)
    _, sources = pretrained_side(*parts)
    data = [
        Sentences(source, tokenizer(part.zh).input_ids)
        for source, part in zip(sources, parts, strict=True)
    ]
    torch.manual_seed(SEED)
    decoder = build_decoder(len(tokenizer))
    print(f"{len(data[0]):,} pairs, {count_parameters(decoder)[0]:,} numbers to learn")
    table = train(decoder, data, epochs, f"runs/{target.name}")
    save(decoder, tokenizer, target)
    table.insert(0, "seed", SEED)
    table.to_csv(target / "log.csv", index=False, float_format="%.4g")
    print(table.round(3).to_string(index=False))


def report(
    folder: Path = TARGET, limit: int | None = None, by: str = "integration"
) -> pd.DataFrame:
    """The figures of the card, on the test pairs (the first so many)."""
    helpers.setup(seed=SEED, needs=["ui-translations", "all-minilm-l6-v2"])
    test = ui_translations("test", limit, by)
    english, chinese = map(AutoTokenizer.from_pretrained, (ENCODER, folder))
    model = join(AutoModelForCausalLM.from_pretrained(folder))
    lines = {"memory": memory(ui_translations("train", by=by), test.en)}
    for name, beams in (("greedy", 1), ("beam 4", 4)):
        lines[name] = translate(model, english, chinese, test.en, num_beams=beams)
    rows = []
    for name, said in lines.items():
        row: dict[str, Any] = {"translations": name, "bleu": bleu(said, test.zh)}
        row |= dict(zip(("low", "high"), bleu_interval(test.zh, said), strict=True))
        row["chrf"] = CHRF().corpus_score(said, [test.zh]).score
        ahead = bleu_interval(test.zh, said, lines["memory"])
        row |= dict(zip(("ahead_low", "ahead_high"), ahead, strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def leak(epochs: int = EPOCHS, limit: int | None = None) -> pd.DataFrame:
    """The same on a split by single texts: figures that are too good to be true."""
    target = Path("runs") / "by-text"
    main(target, epochs, limit, by="text")
    return report(target, limit, by="text")


def compare(
    target: Path = TARGET, share: float = 1.0, limit: int | None = None
) -> None:
    """Write ``comparison.csv``: what a pretrained encoder is worth, on "valid".

    Four short runs: the decoder on the `Reader`, on the encoder's last layer alone, and
    a whole translator from random weights with two learning rates. All get about the
    same processor time, in ``seconds``. ``share`` of the epochs, for tests.
    """
    helpers.setup(seed=SEED, needs=["ui-translations", "all-minilm-l6-v2"])
    parts = [ui_translations(split, limit) for split in ("train", "valid")]
    rows = []
    for name, lr, epochs in COMPARED:
        begin = time.process_time()
        torch.manual_seed(SEED)
        kind = ENCODERS.get(name)
        if kind:
            chinese = train_tokenizer(parts[0].zh)
            english, sources = pretrained_side(*parts, kind=kind)
            model: PreTrainedModel = build_decoder(len(chinese))
        else:
            english = chinese = train_tokenizer(parts[0].zh + parts[0].en)
            sources = [
                [torch.tensor(ids) for ids in english(part.en).input_ids]
                for part in parts
            ]
            model = scratch(len(chinese))
        data = [
            Sentences(source, chinese(part.zh).input_ids)
            for source, part in zip(sources, parts, strict=True)
        ]
        epochs = max(1, round(share * epochs))
        folder = f"runs/{target.name}-{name.replace(' ', '-')}-{lr}"
        table = train(model, data, epochs, folder, lr)
        seconds = time.process_time() - begin
        whole = join(model, kind.from_pretrained(ENCODER)) if kind else model
        lines = translate(whole, english, chinese, parts[1].en, max_new_tokens=80)
        row = {"seed": SEED, "model": name, "lr": lr, "epochs": epochs}
        row |= {"numbers": count_parameters(model)[0], "seconds": round(seconds)}
        row |= dict(table.iloc[-1][["train_loss", "valid_loss"]])
        rows.append(row | {"valid_bleu": bleu(lines, parts[1].zh)})
        print(pd.DataFrame(rows).round(2).to_string(index=False), flush=True)
        target.mkdir(parents=True, exist_ok=True)
        table = pd.DataFrame(rows)
        table.to_csv(target / "comparison.csv", index=False, float_format="%.4g")


COMMANDS: dict[str, Callable[[], object]] = {
    "": main,
    "compare": compare,
    "leak": lambda: print(leak().round(1).to_string(index=False)),
    "report": lambda: print(report().round(1).to_string(index=False)),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train, or do what is named.")
    parser.add_argument("command", nargs="?", default="", choices=COMMANDS)
    COMMANDS[parser.parse_args().command]()
