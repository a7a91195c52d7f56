"""A Llama-like model: from llama.cpp's GGUF file to the files of the Hugging Face Hub.

transformers can read GGUF itself (``gguf_file=``), but that takes half a minute each
time. Here it is read once, and its weights, made numbers again, are saved.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ..manifest import Asset
from . import huggingface, separate


def build(asset: Asset, source: Path, target: Path) -> None:
    """Write a snapshot with weights, settings, tokenizer and chat template."""
    folder = source.parent / "snapshot"
    needs = ("torch", "transformers", "gguf")
    separate.convert(asset, "gguf_model", source, folder, needs)
    huggingface.build(asset, folder, target)


def convert(source: Path, folder: Path) -> None:
    """Read the one ``.gguf`` file of ``source``; runs in its own process."""
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    (file,) = (path.name for path in source.glob("*.gguf"))
    read = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=file, dtype=torch.float32
    )
    config, generation = read.config, read.generation_config
    # Its blocks are plain numbers by now, but it refuses to be saved as what it was.
    del config.quantization_config
    config.name_or_path = ""
    model = type(read)(config)
    model.load_state_dict(read.state_dict())
    model.generation_config = generation
    model.save_pretrained(folder)

    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=file)
    # GGUF only names the splitting rule ("smollm"), and transformers does not know it:
    # digits stand alone, as in the official tokenizer.json.
    digits = pre_tokenizers.Digits(individual_digits=True)
    rest = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, rest])
    tokenizer.model_max_length = config.max_position_embeddings
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
