"""The epoch's loss and accuracy against torchmetrics' own and against one big batch."""

import torch
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy

from lit_models.metrics import LossAndAccuracy


def test_uneven_batches_add_up_to_one_big_batch():
    logits, targets = torch.randn(107, 5), torch.randint(5, (107,))
    metric = LossAndAccuracy()
    for part in torch.arange(107).split(20):
        metric.update(F.cross_entropy(logits[part], targets[part]), logits[part], targets[part])
    values = metric.compute()
    torch.testing.assert_close(values["loss"], F.cross_entropy(logits, targets))
    torch.testing.assert_close(values["acc"], MulticlassAccuracy(5, average="micro")(logits, targets))


def test_reset_forgets():
    metric = LossAndAccuracy()
    metric.update(torch.tensor(9.0), torch.tensor([[0.0, 1.0]]), torch.tensor([0]))
    metric.reset()
    metric.update(torch.tensor(0.5), torch.tensor([[0.0, 1.0]]), torch.tensor([1]))
    assert metric.compute() == {"loss": 0.5, "acc": 1.0}
