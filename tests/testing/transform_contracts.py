"""A contract for each hostile transform; not collected by itself, `test_hostile` runs it."""

from __future__ import annotations

from etlcore.testing import TransformContract
from tests.testing import hostile_transforms as transforms


class Small(TransformContract):
    huge = 2000


class TestHonestTransform(Small):
    component = transforms.Honest


class TestHonestExamples(Small):
    component = transforms.Honest
    examples = (([{"id": 1}, {"text": "no id"}, {"id": 3}], [{"id": 1, "twice": 2}, {"id": 3, "twice": 6}]),)


class TestHonestBuffer(Small):
    component = transforms.HonestBuffer


class TestWrongResult(Small):
    component = transforms.WrongResult
    examples = (([{"id": 1}], [{"id": 1, "twice": 2}]),)


class TestTransformChangesRows(Small):
    component = transforms.ChangesRows


class TestDice(Small):
    component = transforms.Dice


class TestKeepsOneRow(Small):
    component = transforms.KeepsOneRow


class TestKnowsBatches(Small):
    component = transforms.KnowsBatches


class TestRowsOnly(Small):
    component = transforms.RowsOnly


class TestRejectsAndGives(Small):
    component = transforms.RejectsAndGives


class TestNeverRecovers(Small):
    component = transforms.NeverRecovers


class TestTransformCutsHugeBatches(Small):
    component = transforms.CutsHugeBatches


class TestWorkersDiffer(Small):
    component = transforms.WorkersDiffer


class TestForgetsToFlush(Small):
    component = transforms.ForgetsToFlush


class TestHasNoDescription(Small):
    component = transforms.HasNoDescription
