"""Reading Omniglot: small archives of the two forms, what is wrong with them, and the real one."""

import io
import zipfile

import numpy as np
import pytest
import torch

from sparsemeta.errors import ConfigError, CorpusError, MissingExtra
from sparsemeta.streams import ClassOrdered, read_omniglot, score
from tests.data import data_file
from tests.streams.tasks import seeded

NAMES = ("Greek/character01", "Greek/character02", "Korean/character01")


@pytest.fixture
def paper():
    """Three characters of two drawings, white but for a bar of ink that tells them apart."""
    paper = np.ones((3, 2, 105, 105), dtype=bool)
    for character in range(3):
        for drawing in range(2):
            paper[character, drawing, 30 * character : 30 * character + 30, : 50 + drawing] = False
    return paper


def write_npz(folder, split, paper):
    np.savez_compressed(folder / f"images_{split}.npz", images=paper)


def write_zip(folder, split, paper):
    image = pytest.importorskip("PIL.Image")
    with zipfile.ZipFile(folder / f"images_{split}.zip", "w") as archive:
        for name, drawings in reversed(list(zip(NAMES, paper, strict=True))):
            for number, drawing in enumerate(drawings, start=1):
                file = io.BytesIO()
                image.fromarray(drawing).save(file, "PNG")
                member = f"images_{split}/{name}/0001_{number:02}.png"
                archive.writestr(member, file.getvalue())
                archive.writestr(f"__MACOSX/{member}", b"no image")


@pytest.mark.parametrize("write", [write_npz, write_zip])
@pytest.mark.parametrize("split", ["background", "evaluation"])
def test_ink_is_averaged(tmp_path, paper, write, split):
    write(tmp_path, split, paper)
    images = read_omniglot(tmp_path, split, size=7)
    assert (images.shape, images.dtype) == ((3, 2, 7, 7), torch.uint8)
    for character in range(3):
        assert (images[character, :, 2 * character : 2 * character + 2, :3] == 255).all()
        assert images[character].float().mean() == pytest.approx(255 * 30 * 50.5 / 105**2, rel=0.01)
    assert (images[0, 1, 0, 3] > images[0, 0, 0, 3]).all()  # drawings in order


def test_both_forms_are_one(tmp_path, paper):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write_npz(tmp_path / "a", "background", paper)
    write_zip(tmp_path / "b", "background", paper)
    assert torch.equal(read_omniglot(tmp_path / "a"), read_omniglot(tmp_path / "b"))


def test_rotations_are_further_classes(tmp_path, paper):
    write_npz(tmp_path, "background", paper)
    images = read_omniglot(tmp_path, rotations=True)
    assert images.shape == (12, 2, 28, 28)
    assert torch.equal(images[:3], read_omniglot(tmp_path))
    assert torch.equal(images[6:9], images[:3].flip(-1, -2))
    assert len(images[:, 0].unique(dim=0)) == 12


def test_absent(tmp_path):
    with pytest.raises(CorpusError, match=r"images_evaluation\.zip there, from .*brendenlake"):
        read_omniglot(tmp_path / "nowhere", "evaluation")


@pytest.mark.parametrize("suffix", ["npz", "zip"])
@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 cut short"])
def test_damaged(tmp_path, suffix, content):
    (tmp_path / f"images_background.{suffix}").write_bytes(content)
    with pytest.raises(CorpusError, match=r"cannot be read as Omniglot .* Get it again"):
        read_omniglot(tmp_path)


def test_a_zip_of_something_else(tmp_path):
    pytest.importorskip("PIL")
    with zipfile.ZipFile(tmp_path / "images_background.zip", "w") as archive:
        archive.writestr("images_evaluation/Greek/character01/0001_01.png", b"of another split")
    with pytest.raises(CorpusError, match="cannot be read as Omniglot"):
        read_omniglot(tmp_path)


def test_a_damaged_drawing(tmp_path):
    pytest.importorskip("PIL")
    with zipfile.ZipFile(tmp_path / "images_background.zip", "w") as archive:
        archive.writestr("images_background/Greek/character01/0001_01.png", b"no image")
    with pytest.raises(CorpusError, match="cannot be read as Omniglot"):
        read_omniglot(tmp_path)


def test_other_arrays(tmp_path, paper):
    np.savez(tmp_path / "images_background.npz", pictures=paper)
    with pytest.raises(CorpusError, match="cannot be read as Omniglot"):
        read_omniglot(tmp_path)
    with (tmp_path / "images_background.npz").open("wb") as file:
        np.save(file, paper)
    with pytest.raises(CorpusError, match="cannot be read as Omniglot"):
        read_omniglot(tmp_path)
    np.savez(tmp_path / "images_background.npz", images=paper.astype(float))
    with pytest.raises(CorpusError, match=r"float64 of shape \(3, 2, 105, 105\), not drawings"):
        read_omniglot(tmp_path)


@pytest.mark.parametrize("setting", [{"split": "train"}, {"size": 0}, {"size": 106}])
def test_bad_settings(tmp_path, setting):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        read_omniglot(tmp_path, **setting)


def test_without_pillow(tmp_path, monkeypatch):
    (tmp_path / "images_background.zip").touch()
    monkeypatch.setattr("sparsemeta.errors.installed", lambda package: False)
    with pytest.raises(MissingExtra, match=r"sparsemeta\[tasks\]"):
        read_omniglot(tmp_path)


def test_prototypes_of_pixels_reach_what_was_published():
    folder = data_file("omniglot/images_evaluation.npz").parent
    images = read_omniglot(folder, "evaluation")
    assert images.shape == (659, 20, 28, 28)
    assert 0.05 < images.float().mean() / 255 < 0.1  # ink, not paper
    task = ClassOrdered(images, classes=20, shots=5, queries=5)
    stream = task.sample(20, seeded())
    reached = 100 * score(stream, task.oracle(stream))
    error = (reached.std() / 20**0.5).item()
    assert error < 2.5
    assert reached.mean().item() == pytest.approx(50.0, abs=3 * error)
