"""The rows of the built-in task ``digits``, learned by a model of PyTorch."""

from child_cart.model.digits import DIGITS, PIXELS, Digits
from child_cart.model.learner import Learner


class TorchDigits(Digits):
    """Learn to read handwritten digits with a model of PyTorch; rows and partitions are those of ``Digits``."""

    name = "torch-digits"

    def build_learner(self) -> Learner:
        """Return a 64-256-10 dense network of PyTorch, with the starting weights of the seed."""
        import torch  # here and not above: only the trainer process needs it
        from torch import nn

        from .torch_learner import TorchLearner

        torch.set_num_threads(1)  # threads that wait for each other cost more than this small model
        torch.manual_seed(self.seed)
        model = nn.Sequential(nn.Linear(PIXELS, 256), nn.ReLU(), nn.Linear(256, DIGITS))
        return TorchLearner(
            model,
            loss=nn.CrossEntropyLoss(),
            optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.3),
            epochs=self.epochs,
            batch_size=self.batch_size,
            seed=self.seed,
        )
