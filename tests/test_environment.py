"""Importing helpers is cheap and comes first; ``setup`` says where a notebook runs."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import helpers
from helpers import environment
from helpers.assets.paths import command

ROOT = Path(__file__).parent.parent


def python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new process, without the settings of this one."""
    ours = ("HF_HOME", "TORCH_HOME", "TFHUB_CACHE_DIR", "OMP_WAIT_POLICY")
    ours += ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_ASSETS_CACHE")
    ours += ("HF_MODULES_CACHE", "HF_XET_CACHE", "CUBLAS_WORKSPACE_CONFIG")
    switches = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "COURSE_ONLINE")
    env = {k: v for k, v in os.environ.items() if k not in (*ours, *switches)}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=env | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def loaded() -> list[set[str]]:
    """The modules there are after importing helpers, and after reaching for fit."""
    code = (
        "import sys, helpers\n"
        "print(*sys.modules)\n"
        "helpers.fit, helpers.cache_features\n"
        "print(*sys.modules)"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    return [set(line.split()) for line in done.stdout.splitlines()]


def test_importing_helpers_loads_nothing_heavy(loaded: list[set[str]]) -> None:
    heavy = {"torch", "tensorflow", "transformers", "pandas", "matplotlib", "nbformat"}
    heavy |= {"accelerate", "torchvision", "sklearn", "IPython", "numpy"}
    assert not heavy & loaded[0]


def test_training_loads_neither_tensorflow_nor_transformers(
    loaded: list[set[str]],
) -> None:
    assert "helpers.training" in loaded[1]
    heavy = {"tensorflow", "transformers", "torchmetrics", "torchvision"}
    assert not heavy & loaded[1]


@pytest.mark.parametrize("name", ["huggingface_hub", "tensorflow"])
def test_frameworks_imported_too_early_are_named(name: str) -> None:
    # A stand-in module: what counts is that the name was imported before.
    code = f"import sys, types\nsys.modules[{name!r}] = types.ModuleType('early')\n"
    done = python(code + "import helpers")
    assert done.returncode != 0
    assert f"ImportError: {name} was imported before helpers" in done.stderr
    assert "Restart the kernel and import helpers first" in done.stderr


def test_frameworks_are_pointed_to_the_courses_caches(tmp_path: Path) -> None:
    names = ["HF_HUB_CACHE", "TORCH_HOME", "TFHUB_CACHE_DIR", "HF_HUB_OFFLINE"]
    code = f"import helpers, os\nprint([os.environ[name] for name in {names}])"
    done = python(code, COURSE_CACHE=str(tmp_path))
    folders = [str(tmp_path / name) for name in ("huggingface/hub", "torch", "tfhub")]
    assert done.stdout == f"{[*folders, '1']}\n"
    done = python(code, COURSE_CACHE=str(tmp_path), COURSE_ONLINE="1")
    assert done.stdout == f"{[*folders, '0']}\n"


@pytest.mark.parametrize("name", ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"])
def test_a_cache_of_the_users_own_does_not_hide_the_courses(
    name: str, tmp_path: Path
) -> None:
    mine = {"COURSE_CACHE": str(tmp_path), name: str(tmp_path / "mine")}
    code = "import helpers\nfrom huggingface_hub import constants\n"
    done = python(code + "print(constants.HF_HUB_CACHE)", **mine)
    assert done.stdout == f"{tmp_path / 'huggingface' / 'hub'}\n", done.stderr
    # Too late for huggingface_hub, which has read the other folder.
    done = python("import huggingface_hub.constants, helpers", **mine)
    assert "Restart the kernel and import helpers first" in done.stderr


@pytest.mark.parametrize("moved", [False, True])
def test_a_saved_hub_login_is_found(moved: bool, tmp_path: Path) -> None:
    home = tmp_path / ("mine" if moved else "home/.cache/huggingface")
    home.mkdir(parents=True)
    (home / "token").write_text("hf_saved")
    own = {"HF_HOME": str(home)} if moved else {"XDG_CACHE_HOME": str(home.parent)}
    code = "import helpers, huggingface_hub\nprint(huggingface_hub.get_token())"
    done = python(code, COURSE_CACHE=str(tmp_path / "cache"), HF_TOKEN="", **own)
    assert done.stdout == "hf_saved\n", done.stderr


def test_what_the_hugging_face_libraries_keep_stays_in_the_courses_cache(
    tmp_path: Path,
) -> None:
    # A home folder may be read-only, or small.
    code = (
        "import helpers\n"
        "from huggingface_hub import constants as c\n"
        "from transformers.utils.hub import HF_MODULES_CACHE\n"
        "folders = [c.HF_HUB_CACHE, c.HF_ASSETS_CACHE, c.HF_XET_CACHE]\n"
        "print([*folders, HF_MODULES_CACHE])"
    )
    done = python(code, COURSE_CACHE=str(tmp_path))
    names = ("hub", "assets", "xet", "modules")
    expected = [str(tmp_path / "huggingface" / name) for name in names]
    assert done.stdout == f"{expected}\n", done.stderr


def test_cublas_may_be_asked_for_repeatable_sums() -> None:
    code = "import helpers, os; print(os.environ.get('CUBLAS_WORKSPACE_CONFIG'))"
    own = "CUBLAS_WORKSPACE_CONFIG"
    assert python(code).stdout == ":4096:8\n"
    assert python(code, **{own: ":16:8"}).stdout == ":16:8\n"
    # Too late where CUDA runs already: fit must not believe that it was read.
    late = "import torch; torch.cuda.is_initialized = lambda: True\n"
    assert python(late + code).stdout == "None\n"


def test_waiting_threads_sleep_unless_the_user_decided() -> None:
    code = "import helpers, os; print(os.environ['OMP_WAIT_POLICY'])"
    assert python(code).stdout == "PASSIVE\n"
    assert python(code, OMP_WAIT_POLICY="ACTIVE").stdout == "ACTIVE\n"


def test_every_public_name_loads_and_a_wrong_one_is_explained() -> None:
    for name in helpers.__all__:
        assert getattr(helpers, name) is not None
    assert set(dir(helpers)) == set(helpers.__all__)
    with pytest.raises(AttributeError, match="'fitt'.*offers.*fit"):
        _ = helpers.fitt


LINE = re.compile(
    r"Python 3\.\d+\.\d+ · torch \d+\.\d+\.\d+ · .+, \d+ threads · "
    r"(online|offline \(COURSE_ONLINE=1 before starting: online\))\n"
)


def test_setup_prints_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    helpers.setup()
    assert LINE.fullmatch(capsys.readouterr().out)


def test_setup_says_online(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "online", True)
    helpers.setup()
    assert capsys.readouterr().out.endswith(" · online\n")


def test_setup_makes_random_numbers_repeatable() -> None:
    def roll() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), torch.rand(1).item()

    helpers.setup(seed=3)
    first = roll()
    assert roll() != first
    helpers.setup(seed=3)
    assert roll() == first
    helpers.setup(seed=4)
    assert roll() != first


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", ""])
def test_a_wrong_number_of_threads_is_refused(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_THREADS", value)
    with pytest.raises(ValueError, match=f"COURSE_THREADS={value!r}.*whole number"):
        helpers.setup()


def test_the_number_of_threads_is_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = torch.get_num_threads()
    monkeypatch.setenv("COURSE_THREADS", "1")
    try:
        helpers.setup()
        assert torch.get_num_threads() == 1
        assert ", 1 threads" in capsys.readouterr().out
    finally:
        torch.set_num_threads(before)


def test_a_missing_asset_names_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    with pytest.raises(helpers.MissingAsset) as caught:
        helpers.setup(needs=["mnist"])
    assert command("fetch", "mnist") in str(caught.value)


def test_an_unknown_framework_is_refused() -> None:
    with pytest.raises(ValueError, match="framework='jax'.*'torch' or 'tensorflow'"):
        helpers.setup(framework="jax")  # type: ignore[arg-type]
    random.seed(3)
    before = random.getstate()
    with pytest.raises(ValueError, match="framework='jax'.*'torch' or 'tensorflow'"):
        helpers.seed_everything(0, "jax")
    assert random.getstate() == before


def test_the_device_is_one_that_works_here() -> None:
    assert torch.ones(2, device=helpers.device()).sum().item() == 2


def test_course_interactive_switches_bars_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COURSE_INTERACTIVE", raising=False)
    assert environment.interactive()
    monkeypatch.setenv("COURSE_INTERACTIVE", "0")
    assert not environment.interactive()


def test_tensorflow_starts_without_its_greeting() -> None:
    code = "import helpers; helpers.setup(framework='tensorflow')\n"
    code += (
        "import sys, tensorflow as tf; tf.constant(1); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert re.fullmatch(r"Python \S+ · tensorflow \S+ · .*\nFalse\n", done.stdout), (
        done.stdout
    )


def test_transformers_imports_its_models_without_a_word() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import helpers; from transformers import BertModel"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == done.stderr == ""


def test_pytorch_and_its_vision_models_load_after_tensorflow() -> None:
    code = (
        "import helpers; helpers.setup(framework='tensorflow')\n"
        "import tensorflow_text, torchvision, torch\n"
        "from transformers import AutoModel\n"
        "name = 'sentence-transformers/all-MiniLM-L6-v2'\n"
        "model = AutoModel.from_pretrained(name)\n"
        "print(model(torch.tensor([[101, 102]])).last_hidden_state.shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.endswith("torch.Size([1, 2, 384])\n")
