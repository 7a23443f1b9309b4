"""Each layer's parameters, input and output, and the chain of shapes of one batch."""

from dataclasses import dataclass
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor, nn

COLUMNS = ("layer", "type", "parameters", "input", "output")


@dataclass(frozen=True)
class Layer:
    """One row: a module without children, in the order in which it is called."""

    name: str
    kind: str
    num_parameters: int
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]

    def cells(self) -> list[str]:
        """The row as text."""
        shapes = (str(self.input_shape), str(self.output_shape))
        return [self.name, self.kind, f"{self.num_parameters:,}", *shapes]


def trace_layers(net: nn.Module, samples: Tensor) -> list[Layer]:
    """Run one batch through ``net`` and record what each leaf module receives and returns.

    Modes, gradients and random numbers stay as they were.
    """
    layers: list[Layer] = []
    modes = {module: module.training for module in net.modules()}
    handles = [
        module.register_forward_hook(_recorder(name, layers))
        for name, module in net.named_modules()
        if not any(module.children())
    ]
    try:
        net.eval()
        with torch.no_grad():
            net(samples)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training
    return layers


def _recorder(name: str, layers: list[Layer]):
    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        num_parameters = sum(p.numel() for p in module.parameters())
        kind = type(module).__name__
        layers.append(Layer(name or kind, kind, num_parameters, tuple(inputs[0].shape), tuple(output.shape)))

    return record


def shape_chain(layers: list[Layer]) -> str:
    """The shapes a batch goes through, ``(64, 784) -> (64, 128) -> ...``, without repeats."""
    chain = [layers[0].input_shape]
    for layer in layers:
        if layer.output_shape != chain[-1]:
            chain.append(layer.output_shape)
    return " -> ".join(str(shape) for shape in chain)


def as_markdown(layers: list[Layer], total: int) -> str:
    """The table, the sum of parameters and the chain of shapes."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "| --- | --- | ---: | --- | --- |"]
    lines += ["| " + " | ".join(layer.cells()) + " |" for layer in layers]
    return "\n".join([*lines, "", f"Parameters: {total:,}", "", f"Shapes of one batch: {shape_chain(layers)}", ""])


class LayerTable(Callback):
    """Prints the table when training starts, logs it to TensorBoard and saves it as ``layers.md``."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Trace the first training samples, as many as make one batch."""
        if not trainer.is_global_zero or trainer.fast_dev_run:  # which leaves no files
            return
        data = trainer.datamodule
        samples = data.train_set.samples[: data.batch_size].to(pl_module.device)
        if samples.is_floating_point():
            samples = samples.to(pl_module.dtype)
        layers = trace_layers(pl_module.net, samples)
        total = sum(p.numel() for p in pl_module.parameters())
        text = as_markdown(layers, total)
        Path(trainer.default_root_dir, "layers.md").write_text(text)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("layers", text)
        if not trainer.ckpt_path:
            self._print(layers, total)

    def _print(self, layers: list[Layer], total: int) -> None:
        table = Table(title=f"{total:,} parameters", title_justify="left")
        for column in COLUMNS:
            table.add_column(column, justify="right" if column == "parameters" else "left")
        for layer in layers:
            table.add_row(*map(escape, layer.cells()))
        console = Console()
        if not console.is_terminal:  # a file or a pipe has no width of its own
            console.width = 120
        console.print(table)
