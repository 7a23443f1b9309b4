"""Using a trained model: classes for pictures of any kind, and the ONNX file."""

import csv
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from datamodules import DigitsDataModule
from scripts import export, predict_images
from scripts.errors import UsageError
from scripts.main import main
from scripts.predict_images import is_light
from scripts.trained import load_run


@pytest.fixture(scope="module")
def run(tmp_path_factory, request) -> str:
    """A small network trained on scikit-learn's digits by the command."""
    configs = request.config.rootpath / "configs"
    run = tmp_path_factory.mktemp("runs") / "digits"
    quick = ["--trainer.max_epochs", "12", "--trainer.accelerator", "cpu"]
    main(["fit", "-c", str(configs / "digits" / "cnn.yaml"), "--new_run", str(run), *quick])
    return str(run)


@pytest.fixture(scope="module")
def moons_run(tmp_path_factory, request) -> str:
    """A run whose samples are no images."""
    configs = request.config.rootpath / "configs"
    run = tmp_path_factory.mktemp("runs") / "moons"
    quick = ["--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"]
    main(["fit", "-c", str(configs / "moons" / "mlp.yaml"), "--new_run", str(run), *quick])
    return str(run)


def on_paper(digit: Image.Image, dark: bool, size: tuple[int, int], mode: str) -> Image.Image:
    """A digit enlarged, somewhere on a larger sheet, as light ink on dark or dark ink on light, in a Pillow mode."""
    sheet = Image.new("L", size, 12)
    side = int(0.7 * min(size))
    sheet.paste(digit.resize((side, side), Image.Resampling.BICUBIC).point(lambda v: max(v, 12)), (size[0] - side, 3))
    return (ImageOps.invert(sheet) if dark else sheet).convert(mode)


def rows_of(table: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(table.read_text().splitlines()))


@pytest.fixture
def pictures(tmp_path):
    """Test digits as pictures of other sizes, formats, colours and depths of folders; and their labels."""
    data = DigitsDataModule()
    data.setup()
    kinds = [
        (True, (120, 90), "RGB", "png"),
        (False, (64, 64), "L", "webp"),
        (True, (50, 83), "LA", "png"),
        (False, (200, 200), "RGB", "jpeg"),
    ]
    labels = {}
    for i in range(40):
        dark, size, mode, extension = kinds[i % 4]
        path = tmp_path / "mine" / ("deep/er" if i % 2 else "") / f"{i}.{extension}"
        path.parent.mkdir(parents=True, exist_ok=True)
        on_paper(Image.fromarray(data.test_set.samples[i, 0].numpy()), dark, size, mode).save(path)
        labels[str(path.relative_to(tmp_path / "mine"))] = str(int(data.test_set.targets[i]))
    return tmp_path / "mine", labels


def test_pictures_of_any_size_and_kind_get_the_classes_of_the_digits_on_them(run, pictures, capsys):
    folder, labels = pictures
    table = predict_images.main("predict", ["--run", run, "--images", str(folder)])
    rows = rows_of(table)
    assert {row["file"] for row in rows} == set(labels)
    assert np.mean([row["class"] == labels[row["file"]] for row in rows]) >= 0.9
    assert "20 of 40 pictures show dark ink on light paper and were inverted" in capsys.readouterr().out
    for row in rows:
        assert row["inverted"] == str(int(row["file"].split("/")[-1].split(".")[0]) % 2 == 0)
        best = [entry.split(":") for entry in row["top3"].split()]
        assert [best[0][0], best[0][1]] == [row["class"], row["confidence"]]
        assert len(best) == 3
        assert float(best[0][1]) >= float(best[1][1]) >= float(best[2][1])


def test_a_picture_that_is_a_training_image_meets_the_training_arithmetic(run, tmp_path):
    data = DigitsDataModule()
    data.setup()
    full = [i for i in range(100) if data.test_set.samples[i, 0].amax(dim=1).gt(80).all()][:5]  # ink in every row
    trained = load_run(run)
    for i in full:
        image = data.test_set.samples[i]
        Image.fromarray(image[0].numpy()).save(tmp_path / f"{i}.png")
    table = predict_images.main("predict", ["--run", run, "--images", str(tmp_path)])
    for row in rows_of(table):
        sample = data.test_set.samples[int(row["file"].removesuffix(".png"))]
        assert trained.model(sample[None]).argmax().item() == int(row["class"])


def test_paper_is_judged_by_the_edge():
    dark = np.zeros((9, 9), dtype=np.uint8)
    dark[2:7, 2:7] = 255  # mostly light inside
    assert not is_light(Image.fromarray(dark))
    assert is_light(Image.fromarray(255 - dark))


def test_an_unreadable_picture_is_named_and_the_others_are_predicted(run, pictures, capsys):
    folder, labels = pictures
    (folder / "notes.png").write_text("no image")
    table = predict_images.main("predict", ["--run", run, "--images", str(folder), "--output", str(folder / "p.csv")])
    assert len(rows_of(table)) == len(labels)
    assert "notes.png is no image that can be read" in capsys.readouterr().err


def test_what_cannot_be_predicted_is_refused(run, moons_run, tmp_path):
    def refuse(message: str, **options: str):
        with pytest.raises(UsageError, match=message):
            predict_images.main("predict", [word for name, value in options.items() for word in (f"--{name}", value)])

    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_text("no image")
    refuse("--images .*absent does not exist", run=run, images=str(tmp_path / "absent"))
    refuse("--images .*empty holds no picture", run=run, images=str(tmp_path / "empty"))
    refuse("none of its pictures can be read", run=run, images=str(tmp_path / "bad"))
    refuse("holds no config.yaml", run=str(tmp_path), images=str(tmp_path))
    refuse(r"takes samples of shape \[2\], not images", run=moons_run, images=str(tmp_path))


def test_onnx_file_gives_the_checkpoints_probabilities_for_any_batch_and_names_its_classes(run, tmp_path):
    pytest.importorskip("onnxscript", reason="needs the export extra: onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        path = export.main("export", ["--run", run, "--output", str(tmp_path / "digits.onnx")])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["class_names"].split("\n") == [str(k) for k in range(10)]
    data = DigitsDataModule()
    data.setup()
    model = load_run(run).model
    for batch in (data.test_set.samples[:1], data.test_set.samples):  # raw uint8: the normalisation is inside
        (logits,) = session.run(None, {"samples": batch.numpy()})
        with torch.no_grad():
            expected = model(batch)
        assert np.abs(torch.from_numpy(logits).softmax(1).numpy() - expected.softmax(1).numpy()).max() < 1e-5


def test_an_onnx_file_that_disagrees_is_refused_and_removed(run, tmp_path, monkeypatch):
    pytest.importorskip("onnxscript", reason="needs the export extra: onnxscript")
    monkeypatch.setattr(export, "largest_difference", lambda *_: 2e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UsageError, match=r"differ by 2\.0e-05, more than 1e-05"):
            export.main("export", ["--run", run, "--output", str(tmp_path / "digits.onnx")])
    assert not (tmp_path / "digits.onnx").exists()


def test_without_the_export_packages_the_way_to_them_is_named(run, tmp_path, monkeypatch):
    def missing(*_):
        raise ModuleNotFoundError("No module named 'onnxscript'", name="onnxscript")

    monkeypatch.setattr(export, "write_onnx", missing)
    with pytest.raises(UsageError, match=r"needs the package onnxscript: pip install 'firstlight\[export\]'"):
        export.main("export", ["--run", run, "--output", str(tmp_path / "digits.onnx")])
