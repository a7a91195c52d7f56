"""The models that the course trained itself: listed, small, whole, explained."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from safetensors import safe_open

from helpers.__main__ import main
from helpers.assets import ManifestError, manifest
from helpers.assets import own as own_models
from helpers.assets.own import WEIGHTS, Model, load_models
from helpers.assets.paths import REPOSITORY, manifest_path

MODELS = load_models()
DATA = REPOSITORY / "data"
named = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)


@named
def test_the_weights_are_the_ones_listed(model: Model) -> None:
    assert model.in_order, "new weights? put their SHA-256 into data/assets.toml"
    with safe_open(model.folder / WEIGHTS, framework="pt") as weights:
        assert list(weights.keys())


@named
def test_each_is_small_and_has_card_log_and_script(model: Model) -> None:
    assert model.size <= 12_000_000
    assert (model.folder / "log.csv").is_file()
    card = (model.folder / "README.md").read_text("utf-8")
    assert model.command in card
    for word in ("seed", "limits", "licence", "thread"):
        assert word in card.lower(), f"the card says nothing about: {word}"
    assert importlib.util.find_spec(model.command.split()[-1]) is not None


def test_all_together_stay_small() -> None:
    assert sum(model.size for model in MODELS) < 60_000_000


def test_every_committed_model_is_listed_and_named_in_the_readme() -> None:
    folders = {path.parent.name for path in DATA.glob(f"*/{WEIGHTS}")}
    assert folders == {model.id for model in MODELS}
    readme = (DATA / "README.md").read_text("utf-8")
    for name in folders:
        assert f"`{name}`" in readme


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with one small model, which the commands then see."""
    folder = tmp_path / "tiny-thing"
    folder.mkdir()
    (folder / WEIGHTS).write_bytes(b"weights")
    digest = own_models.sha256_of(folder / WEIGHTS)
    texts = ("title", "command", "licence", "precision", "origin")
    lines = [f'{name} = "the {name}"' for name in texts]
    lines = ["[model.tiny-thing]", *lines, f'sha256 = "{digest}"']
    path = tmp_path / "assets.toml"
    path.write_text(
        "\n".join([*lines, ""]) + manifest_path().read_text("utf-8"), "utf-8"
    )
    monkeypatch.setattr(manifest, "manifest_path", lambda: path)
    return tmp_path


def test_list_verify_and_fetch_know_them(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fetch", "--list", "tiny-thing"]) == 0
    shown = capsys.readouterr().out
    assert "in repository" in shown and "the origin" in shown and "mnist" not in shown
    assert main(["fetch", "--verify", "tiny-thing"]) == 0
    assert "in order" in capsys.readouterr().out
    assert main(["fetch", "tiny-thing"]) == 0
    assert "nothing to fetch" in capsys.readouterr().out
    assert main(["fetch", "--list"]) == 0
    shown = capsys.readouterr().out
    assert "mnist" in shown and "tiny-thing" in shown


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_verify_finds_a_damaged_one_and_says_what_brings_it_back(
    damage: str, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copy / "tiny-thing" / WEIGHTS
    if damage == "changed":
        path.write_bytes(b"weighty")
    else:
        path.unlink()
    assert main(["fetch", "--verify", "tiny-thing"]) == 1
    assert "git checkout -- data/tiny-thing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('title = "the title"\n', "", "'title' is missing"),
        ("title =", "titel =", "'titel' is unknown"),
        ('"the title"', "3", "title must be text, got 3"),
        ('"the title"', "", "not valid TOML"),
    ],
)
def test_a_faulty_list_is_explained(old: str, new: str, says: str, copy: Path) -> None:
    path = copy / "assets.toml"
    path.write_text(path.read_text("utf-8").replace(old, new, 1), "utf-8")
    with pytest.raises(ManifestError, match=says):
        load_models(path)
