"""What SFT and DPO share: which checkpoint a run goes on from, and what is refused before anything is loaded."""

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from stages import sft
from stages.core import estimate, training
from stages.core.errors import KormedError
from stages.core.estimate import Estimate
from stages.core.pipeline import Run
from stages.core.recipe import Sft


@pytest.fixture(scope="module")
def checkpoints(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of six steps whose checkpoints of steps 4 and 6 were kept."""
    out = tmp_path_factory.mktemp("kept")
    config = tiny_run.recipe.sft.model_copy(update={"report_to": ("tensorboard",)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "drop_checkpoints", lambda out: None)
        sft.run(config, out, prepare=tiny_run.path("prepare"))
    return out


@pytest.fixture
def cut(checkpoints: Path, tmp_path: Path) -> Path:
    """The same run as a kill would have left it."""
    out = tmp_path / "cut"
    shutil.copytree(checkpoints, out)
    return out


FILES = ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.6])
def test_a_checkpoint_with_a_file_that_was_cut_off_is_passed_over_for_the_one_before(
    cut: Path, name: str, share: float, caplog: pytest.LogCaptureFixture
) -> None:
    newest = cut / "checkpoints" / "checkpoint-6"
    file = newest / name
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with caplog.at_level(logging.INFO, logger="kormed"):
        assert training.last_checkpoint(cut) == cut / "checkpoints" / "checkpoint-4"
    assert f"checkpoint-6 is cut off ({name})" in caplog.text
    assert not newest.exists()


@pytest.mark.parametrize("name", [*FILES[:3], FILES[4]])
def test_a_checkpoint_that_lacks_a_file_is_passed_over(cut: Path, name: str) -> None:
    (cut / "checkpoints" / "checkpoint-6" / name).unlink()
    assert training.last_checkpoint(cut) == cut / "checkpoints" / "checkpoint-4"


def test_where_no_checkpoint_is_whole_a_run_begins_anew(cut: Path) -> None:
    for folder in (cut / "checkpoints").glob("checkpoint-*"):
        (folder / "optimizer.pt").write_bytes(b"")
    assert training.last_checkpoint(cut) is None
    assert not list((cut / "checkpoints").glob("checkpoint-*"))


def test_a_run_behind_a_cut_checkpoint_ends_the_same_and_its_curves_go_on_in_one_folder(
    cut: Path, checkpoints: Path, tiny_run: Run
) -> None:
    file = cut / "checkpoints" / "checkpoint-6" / "optimizer.pt"
    file.write_bytes(file.read_bytes()[:1000])
    config = tiny_run.recipe.sft.model_copy(update={"report_to": ("tensorboard",)})
    assert sft.run(config, cut, prepare=tiny_run.path("prepare"))["steps"] == 6
    whole, resumed = (load_file(folder / "adapter_model.safetensors") for folder in (checkpoints, cut))
    for name, value in whole.items():
        assert resumed[name].allclose(value, rtol=1e-4, atol=1e-6), name
    events = list((cut / "tensorboard").rglob("events.out.tfevents*"))
    assert len(events) == 2
    assert len({file.parent for file in events}) == 1


def changed(config: Sft, **settings: Any) -> Sft:
    return config.model_copy(update=settings)


def test_an_attention_that_leaves_out_the_soft_capping_is_refused(tiny_run: Run) -> None:
    config = tiny_run.recipe.sft
    sdpa = changed(config, model=config.model.model_copy(update={"attention": "sdpa"}))
    with pytest.raises(KormedError, match=r"caps its attention's logits at 50.*set model.attention=eager"):
        training.preflight("sft", sdpa, [[100]])


def test_a_gpu_too_old_for_training_without_padding_is_refused_by_its_name() -> None:
    training.require_triton("NVIDIA A100", (8, 0))
    with pytest.raises(
        KormedError, match=r"Tesla T4: compute capability 7.5, .* needs 8.0 .*set padding_free to false"
    ):
        training.require_triton("Tesla T4", (7, 5))


def test_before_a_training_its_extent_is_said(tiny_run: Run, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="kormed"):
        training.preflight("sft", changed(tiny_run.recipe.sft, max_steps=None, epochs=2), [[100]] * 40)
    assert "sft: 20 steps, about 8,000 tokens without padding" in caplog.text


def test_a_gpu_that_is_nearly_too_small_is_warned_of_and_one_that_is_too_small_refused(
    tiny_run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny_run.recipe.sft
    needed = Estimate(
        steps=10,
        tokens=1000,
        largest_step=100,
        weights=2 * estimate.GIB,
        adapter=estimate.GIB,
        activations=7 * estimate.GIB,
        operations=1e15,
        reached=estimate.REACHED_KEPT,
        devices=1,
    )
    with caplog.at_level(logging.INFO, logger="kormed"):
        training.require_room("sft", config, needed, 20.0, "NVIDIA L4")
    assert "estimated peak 10.0 GiB a GPU" in caplog.text
    assert "may run out" not in caplog.text
    with caplog.at_level(logging.INFO, logger="kormed"):
        training.require_room("sft", config, needed, 10.0, "NVIDIA L4")
    assert "sft: may run out of GPU memory; if it does, set sft.gradient_checkpointing=true" in caplog.text
    with pytest.raises(KormedError, match=r"sft: needs about 10.0 GiB of GPU memory and 7.0 are free"):
        training.require_room("sft", config, needed, 7.0, "NVIDIA L4")
