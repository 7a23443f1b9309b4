"""``firstlight export --run DIR``: a trained model as one ONNX file that needs none of this project."""

import contextlib
import io
import logging
import warnings
from pathlib import Path

import numpy as np
import torch

from scripts.errors import Parser, UsageError
from scripts.trained import Trained, load_run

TOLERANCE = 1e-5
BATCHES = (1, 7)


def samples_like(trained: Trained, num: int) -> torch.Tensor:
    """Random samples (num, *sample_shape) of the kind the model is trained on: uint8 images, or float32 points."""
    generator = torch.Generator().manual_seed(num)
    if len(trained.sample_shape) == 3:
        return torch.randint(0, 256, (num, *trained.sample_shape), dtype=torch.uint8, generator=generator)
    return torch.randn(num, *trained.sample_shape, generator=generator)


def write_onnx(trained: Trained, path: Path) -> None:
    """Write samples (batch, *sample_shape) -> logits (batch, num_classes), for any batch, normalisation inside.

    The class names, one a line, are the file's metadata ``class_names``.
    """
    import onnx

    example = samples_like(trained, 2)
    # The exporter reports its progress and its own dependencies' deprecations.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            trained.model.net,
            (example,),
            dynamo=True,
            input_names=["samples"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    proto = program.model_proto
    onnx.helper.set_model_props(proto, {"class_names": "\n".join(trained.class_names)})
    onnx.save(proto, path)


def largest_difference(trained: Trained, path: Path) -> float:
    """Largest difference between the class probabilities of the file, run by onnxruntime, and of the checkpoint."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    differences = []
    for num in BATCHES:
        samples = samples_like(trained, num)
        (logits,) = session.run(None, {"samples": samples.numpy()})
        with torch.no_grad():
            expected = trained.model(samples).softmax(dim=1)
        differences.append(np.abs(torch.from_numpy(logits).softmax(dim=1).numpy() - expected.numpy()).max())
    return float(max(differences))


def main(command: str, options: list[str]) -> Path:
    """Write the file and check it against the checkpoint.

    Raises:
        UsageError: no such run, a package is missing, or the file disagrees with the checkpoint.
    """
    parser = Parser(prog=f"firstlight {command}", description=__doc__)
    parser.add_argument("--run", required=True, metavar="DIR", help="directory of the run")
    parser.add_argument("--output", metavar="FILE", help="default: model.onnx in that directory")
    args = parser.parse_args(options)
    trained = load_run(args.run)
    path = Path(args.output or Path(args.run, "model.onnx"))
    try:
        write_onnx(trained, path)
        difference = largest_difference(trained, path)
    except ModuleNotFoundError as error:
        raise UsageError(f"export needs the package {error.name}: pip install 'firstlight[export]'") from error
    if difference > TOLERANCE:
        path.unlink()
        raise UsageError(f"the ONNX file and the checkpoint differ by {difference:.1e}, more than {TOLERANCE}")
    shape = ", ".join(map(str, trained.sample_shape))
    print(f"samples (batch, {shape}) -> logits (batch, {len(trained.class_names)})")
    print(f"onnxruntime and checkpoint differ by at most {difference:.1e} in probability\n-> {path}")
    return path
