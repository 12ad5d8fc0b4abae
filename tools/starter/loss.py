"""What the student is told: the teacher's vectors, the teacher's order of neighbours, and the right answer.

Three terms, the last two at every Matryoshka dimension: the cosine between the probe's reading and the
teacher's vector; the divergence of the student's softmax over neighbours from the teacher's; InfoNCE over
the passages of the batch, without those that the teacher ranks above the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812

TEMPERATURE = 0.05
COSINE_WEIGHT, NEIGHBOUR_WEIGHT, ANSWER_WEIGHT = 2.0, 1.0, 0.3


@dataclass(frozen=True)
class Sides:
    """Vectors [n, width] of a batch's queries and of the passages that answer them, in the same order."""

    queries: torch.Tensor
    passages: torch.Tensor

    def both(self) -> torch.Tensor:
        """All of them in one table [2 n, width]."""
        return torch.cat([self.queries, self.passages])

    def to(self, device: torch.device) -> Sides:
        """The same on a device."""
        return Sides(self.queries.to(device), self.passages.to(device))

    def cut(self, dim: int) -> Sides:
        """Unit vectors of the first `dim` numbers."""
        return Sides(*(F.normalize(side[:, :dim], dim=1) for side in (self.queries, self.passages)))


@dataclass(frozen=True)
class Losses:
    """The three terms of a batch; `total` is what is minimised."""

    cosine: torch.Tensor
    neighbours: torch.Tensor
    answer: torch.Tensor

    def detached(self) -> Losses:
        """The same numbers without what made them."""
        return Losses(self.cosine.detach(), self.neighbours.detach(), self.answer.detach())

    @property
    def total(self) -> torch.Tensor:
        """The weighted sum."""
        return COSINE_WEIGHT * self.cosine + NEIGHBOUR_WEIGHT * self.neighbours + ANSWER_WEIGHT * self.answer


def losses(student: Sides, read: torch.Tensor, teacher: Sides, dims: Sequence[int]) -> Losses:
    """The terms for a batch of student vectors and teacher unit vectors; read: [2 n, teacher width]."""
    cosine = 1 - F.cosine_similarity(read, teacher.both(), dim=1).mean()
    cuts = [student.cut(dim) for dim in dims]
    neighbours = torch.stack([_neighbours(cut.both(), teacher.both()) for cut in cuts]).mean()
    answer = torch.stack([_answer(cut, teacher) for cut in cuts]).mean()
    return Losses(cosine, neighbours, answer)


def _neighbours(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """KL divergence over every text's neighbours in the batch, itself left out."""
    count = len(student)
    others = ~torch.eye(count, dtype=torch.bool, device=student.device)
    wanted = (teacher @ teacher.T)[others].view(count, count - 1) / TEMPERATURE
    found = (student @ student.T)[others].view(count, count - 1) / TEMPERATURE
    return F.kl_div(found.log_softmax(1), wanted.log_softmax(1), reduction="batchmean", log_target=True)


def _answer(student: Sides, teacher: Sides) -> torch.Tensor:
    """InfoNCE from query to passage; what the teacher finds nearer than the answer is no wrong answer."""
    nearness = teacher.queries @ teacher.passages.T
    spared = nearness > nearness.diagonal()[:, None]
    scores = (student.queries @ student.passages.T / TEMPERATURE).masked_fill(spared, float("-inf"))
    return F.cross_entropy(scores, torch.arange(len(scores), device=scores.device))
