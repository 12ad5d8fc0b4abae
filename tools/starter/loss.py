"""What the student is told: the teacher's words, its vectors, its order of neighbours, and the right answer.

Four terms, the last two at every Matryoshka dimension: what the student's states do not explain of the
teacher's states of the same words; the cosine between the probe's reading and the teacher's vector; the
divergence of the student's softmax over neighbours from the teacher's; InfoNCE over the passages of the
batch, without those that the teacher ranks above the answer.

A fifth tells it what it must not do without: with a layer or the prompts left out, its order of passages has
to be at least so many times as far from the teacher's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812

TEMPERATURE = 0.05
WORDS_WEIGHT, COSINE_WEIGHT, NEIGHBOUR_WEIGHT, ANSWER_WEIGHT = 4.0, 2.0, 1.0, 0.3
SPARED_WEIGHT = 1.0
TIMES_WORSE = 2.0
LEAST = 1e-3
"""Of a spread or a divergence that something is divided by: a few passages, or equal ones, may have none."""


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

    def detach(self) -> Sides:
        """The same numbers without what made them."""
        return Sides(self.queries.detach(), self.passages.detach())

    def first(self, rows: int) -> Sides:
        """The first rows of both."""
        return Sides(self.queries[:rows], self.passages[:rows])

    def cut(self, dim: int) -> Sides:
        """Unit vectors of the first `dim` numbers."""
        return Sides(*(F.normalize(side[:, :dim], dim=1) for side in (self.queries, self.passages)))


@dataclass(frozen=True)
class Losses:
    """The terms of a batch, whose `total` is minimised. spared: of `spare`, where a part was left out."""

    words: torch.Tensor
    cosine: torch.Tensor
    neighbours: torch.Tensor
    answer: torch.Tensor
    spared: torch.Tensor

    def detached(self) -> Losses:
        """The same numbers without what made them."""
        return Losses(*(term.detach() for term in vars(self).values()))

    def total(self, words: float = 1.0) -> torch.Tensor:
        """The weighted sum; `words` is how much of their weight the words have left."""
        return (
            words * WORDS_WEIGHT * self.words
            + COSINE_WEIGHT * self.cosine
            + NEIGHBOUR_WEIGHT * self.neighbours
            + ANSWER_WEIGHT * self.answer
            + SPARED_WEIGHT * self.spared
        )


@dataclass(frozen=True)
class Reading:
    """What the probes read in the student, in the teacher's terms: texts [2 n, width], words [words, width].

    seen: whether the student has tokens of a word, bool [words]; it may have cut the text before.
    """

    texts: torch.Tensor
    words: torch.Tensor
    seen: torch.Tensor


def losses(student: Sides, read: Reading, teacher: Sides, words: torch.Tensor, dims: Sequence[int]) -> Losses:
    """The terms for a batch of student vectors, teacher unit vectors and teacher states of words."""
    cosine = 1 - F.cosine_similarity(read.texts, teacher.both(), dim=1).mean()
    cuts = [student.cut(dim) for dim in dims]
    neighbours = torch.stack([_neighbours(cut.both(), teacher.both()) for cut in cuts]).mean()
    answer = torch.stack([_answer(cut, teacher) for cut in cuts]).mean()
    return Losses(_unexplained(read, words), cosine, neighbours, answer, cosine.new_zeros(()))


def spare(without: Sides, whole: Sides, teacher: Sides) -> torch.Tensor:
    """By what factor a student without one of its parts ranks too well, as a logarithm; 0 for not at all.

    Only what it does without the part is to change: nothing is learned from the whole student's vectors.
    """
    right = _misranked(whole, teacher).detach()
    return (TIMES_WORSE * right / _misranked(without, teacher)).log().relu()


def _misranked(student: Sides, teacher: Sides) -> torch.Tensor:
    """KL divergence from the teacher's softmax over passages, with the student's scores on its scale.

    What moves all scores of a query, or widens them, changes no order and is not counted.
    """
    wanted = teacher.queries @ teacher.passages.T
    unit = student.cut(student.queries.shape[1])
    found = unit.queries @ unit.passages.T
    mean, spread = found.mean(1, keepdim=True), found.std(1, keepdim=True).clamp(min=LEAST)
    found = (found - mean) / spread * wanted.std(1, keepdim=True) + wanted.mean(1, keepdim=True)
    made, right = ((scores / TEMPERATURE).log_softmax(1) for scores in (found, wanted))
    return F.kl_div(made, right, reduction="batchmean", log_target=True).clamp(min=LEAST)


def _unexplained(read: Reading, words: torch.Tensor) -> torch.Tensor:
    """Squared error as a share of the teacher's squares, over the words that the student has seen."""
    seen = read.seen.unsqueeze(1)
    return ((read.words - words) * seen).square().sum() / (words * seen).square().sum()


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
