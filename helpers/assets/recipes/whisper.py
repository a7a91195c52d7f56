"""Whisper: from a CTranslate2 model to the files of the Hugging Face Hub.

A CTranslate2 file (version 6, little-endian) is a list of named arrays. Its layers are
those of the original model under other names, with the weights of query, key and value
(or of key and value) stacked. Taking them apart changes no number.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ..errors import ArchiveError
from ..manifest import Asset
from . import huggingface

if TYPE_CHECKING:
    import numpy as np

_FLOAT16 = 4
_SIZES = {1: 1, 2: 2, 4: 2}  # bytes of an int8, int16 and float16 value
_NAMES = {"gamma": "weight", "beta": "bias"}
_SPECIAL = {"start": 50257, "end": 50256, "no_timestamps": 50362, "previous": 50360}


def build(asset: Asset, source: Path, target: Path) -> None:
    """Write a snapshot of ``openai/whisper-tiny.en``: weights, settings, tokenizer."""
    import numpy as np
    from safetensors.numpy import save_file

    told = json.loads((source / "config.json").read_text(encoding="utf-8"))
    with (source / "model.bin").open("rb") as file:
        arrays = read_ctranslate2(asset, file)
    weights = {
        # The official file is float32 too; half precision is slow on a CPU.
        name: np.ascontiguousarray(array.astype(np.float32))
        for name, array in rename(arrays).items()
    }
    folder = source.parent / "snapshot"
    folder.mkdir()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    for name, content in _settings(told, arrays).items():
        text = json.dumps(content, indent=2, ensure_ascii=False)
        (folder / name).write_text(text + "\n", encoding="utf-8")
    (source / "tokenizer.json").rename(folder / "tokenizer.json")
    huggingface.build(asset, folder, target)


def read_ctranslate2(asset: Asset, file: BinaryIO) -> dict[str, np.ndarray]:
    """{name: float16 array} of a CTranslate2 model; numbers and flags are left out."""
    import numpy as np

    def number(code: str) -> int:
        data = file.read(struct.calcsize("<" + code))
        return int(struct.unpack("<" + code, data)[0])

    def string() -> str:
        return file.read(number("H"))[:-1].decode()

    version, kind = number("I"), string()
    if (version, kind) != (6, "WhisperSpec"):
        raise ArchiveError(f"{asset.id}: model.bin is {kind} {version}, not Whisper 6.")
    number("I")  # revision
    arrays = {}
    for _ in range(number("I")):
        name = string()
        shape = [number("I") for _ in range(number("B"))]
        dtype, length = number("B"), number("I")
        if length != int(np.prod(shape)) * _SIZES.get(dtype, 0):
            raise ArchiveError(f"{asset.id}: {name!r} of model.bin has a wrong size.")
        data = file.read(length)
        if dtype == _FLOAT16:
            arrays[name] = np.frombuffer(data, "<f2").reshape(shape)
    return arrays


def rename(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """CTranslate2's names and stacked arrays -> transformers' names and arrays."""
    weights = {}
    for name, array in arrays.items():
        for new, part in _parts(name.split("/"), array):
            weights[f"model.{new}"] = part
    return weights


def _parts(path: list[str], array: np.ndarray) -> list[tuple[str, np.ndarray]]:
    side, *rest, last = path
    last = _NAMES.get(last, last)
    if rest == ["embeddings"]:
        return [(f"{side}.embed_tokens.weight", array)]
    if rest == ["position_encodings"]:
        return [(f"{side}.embed_positions.weight", array)]
    if len(rest) == 1:  # conv1, conv2 and the last layer norm
        return [(f"{side}.{rest[0]}.{last}", array)]
    layer, block, member = rest
    start = f"{side}.layers.{layer.removeprefix('layer_')}."
    if block == "ffn":
        fine = {"layer_norm": "final_layer_norm", "linear_0": "fc1", "linear_1": "fc2"}
        return [(f"{start}{fine[member]}.{last}", array)]
    own = block == "self_attention"
    attention = "self_attn" if own else "encoder_attn"
    if member == "layer_norm":
        return [(f"{start}{attention}_layer_norm.{last}", array)]
    # Self-attention has (qkv, out), attention to the encoder (q, kv, out).
    stacks = [["q", "k", "v"], ["out"]] if own else [["q"], ["k", "v"], ["out"]]
    heads = stacks[int(member.removeprefix("linear_"))]
    pieces = array.reshape(len(heads), -1, *array.shape[1:])
    return [
        (f"{start}{attention}.{head}_proj.{last}", piece)
        for head, piece in zip(heads, pieces, strict=True)
        # Keys have no bias in Whisper; CTranslate2 fills in zeros.
        if (head, last) != ("k", "bias")
    ]


def _settings(told: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The JSON files of the snapshot; ``told`` is what CTranslate2's own file says."""
    vocabulary, width = arrays["decoder/embeddings/weight"].shape
    inner = len(arrays["encoder/layer_0/ffn/linear_0/bias"])
    layers = sum(name.endswith("ffn/linear_1/bias") for name in arrays) // 2
    shared = {
        "bos_token_id": _SPECIAL["start"],
        "decoder_start_token_id": _SPECIAL["start"],
        "eos_token_id": _SPECIAL["end"],
        "pad_token_id": _SPECIAL["end"],
    }
    config: dict[str, Any] = {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "d_model": width,
        "vocab_size": vocabulary,
        "num_mel_bins": arrays["encoder/conv1/weight"].shape[1],
        "max_source_positions": 1500,
        "max_target_positions": 448,
        "is_encoder_decoder": True,
        "dtype": "float32",
        **shared,
    }
    for side in ("encoder", "decoder"):
        config[f"{side}_layers"] = layers
        config[f"{side}_attention_heads"] = width // 64
        config[f"{side}_ffn_dim"] = inner
    generation = {
        "alignment_heads": told["alignment_heads"],
        "begin_suppress_tokens": told["suppress_ids_begin"],
        "suppress_tokens": told["suppress_ids"],
        "is_multilingual": False,
        "max_initial_timestamp_index": 50,
        "max_length": 448,
        "no_timestamps_token_id": _SPECIAL["no_timestamps"],
        "prev_sot_token_id": _SPECIAL["previous"],
        "return_timestamps": False,
        **shared,
    }
    preprocessor = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "processor_class": "WhisperProcessor",
        "chunk_length": 30,
        "feature_size": config["num_mel_bins"],
        "hop_length": 160,
        "n_fft": 400,
        "n_samples": 480000,
        "nb_max_frames": 3000,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
        "sampling_rate": 16000,
    }
    end = "<|endoftext|>"
    tokenizer = {
        "tokenizer_class": "WhisperTokenizer",
        "processor_class": "WhisperProcessor",
        "add_prefix_space": False,
        "bos_token": end,
        "eos_token": end,
        "pad_token": end,
        "unk_token": end,
        "model_max_length": 1024,
        "clean_up_tokenization_spaces": False,
        "return_attention_mask": False,
    }
    return {
        "config.json": config,
        "generation_config.json": generation,
        "preprocessor_config.json": preprocessor,
        "tokenizer_config.json": tokenizer,
    }
