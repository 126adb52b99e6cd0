"""Named checks: what each of them proves, what it needs to be proved first, and exemptions with a reason."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import pytest

from etlcore.plugins.names import closest

CONTRACT_PAGE = "docs/plugin-contract.md"


class ContractError(TypeError):
    """A contract class is written wrongly: an exemption that names no check, or gives no reason."""


class Broken(Exception):
    """A rule of the contract is broken; the text says what was seen."""


class NotApplicable(Exception):
    """The component promises nothing that the check could look at; the text says why."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a contract."""

    name: str
    rule: str
    """What it proves, as a sentence."""
    section: str
    """The heading in docs/plugin-contract.md below which the rule stands."""
    after: tuple[str, ...]
    """Checks without which this one could not say what is wrong; where one of them fails, this one is not made."""
    reads_back: bool
    """It needs what the author writes to look at what the component has really done, such as a sink's `stored`."""
    runs: bool
    """It runs a pipeline, so the contract's first run must work."""


_Method = TypeVar("_Method", bound=Callable[[Any], None])


def check(
    rule: str, section: str, *, after: tuple[str, ...] = (), reads_back: bool = False, runs: bool = True
) -> Callable[[_Method], _Method]:
    """Make a method of a `Contract` one of its checks. It raises `Broken`, or `NotApplicable`."""

    def mark(function: _Method) -> _Method:
        record = Check(function.__name__, rule, section, after, reads_back, runs)

        @functools.wraps(function)
        def perform(self: Contract) -> None:
            self.perform(record, lambda: function(self))

        perform.__check__ = record  # type: ignore[attr-defined]
        return perform  # type: ignore[return-value]

    return mark


class Contract:
    """What the contracts of sources, transforms and sinks have in common; pytest makes an instance for each check."""

    exempt: ClassVar[Mapping[str, str]] = {}
    """Checks that are not made: ``{name: reason}``."""
    first_run: ClassVar[str] = ""
    """The check of a plain run: where it fails, no other check that runs a pipeline is made."""
    failed_checks: ClassVar[set[str]] = set()
    """Of this class, so far: those that failed, and those that were not made because of them."""

    _tried: ClassVar[set[str]] = set()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.failed_checks = set()
        cls._tried = set()
        known = {record.name for record in cls.checks()}
        for name, reason in cls.exempt.items():
            if name not in known:
                meant = closest(name, known)
                hint = f"did you mean {meant}?" if meant else "docs/testing-plugins.md lists them"
                raise ContractError(f"{cls.__name__}.exempt names {name!r}, which is no check\n  -> {hint}")
            if not isinstance(reason, str) or not reason.strip():
                raise ContractError(
                    f"{cls.__name__}.exempt gives no reason for {name}\n"
                    "  -> say why the component need not keep the rule"
                )

    @classmethod
    def checks(cls) -> list[Check]:
        """All checks of the contract, in the order in which they are made."""
        found: dict[str, Check] = {}
        for base in reversed(cls.__mro__):
            for value in vars(base).values():
                record = getattr(value, "__check__", None)
                if isinstance(record, Check):
                    found[record.name] = record
        return list(found.values())

    @classmethod
    def reading_back(cls, reason: str) -> dict[str, str]:
        """An exemption, for one reason, from all checks that read back what the component has done."""
        return {record.name: reason for record in cls.checks() if record.reads_back}

    def perform(self, record: Check, made: Callable[[], None]) -> None:
        """Make one check; pytest is told how it ended."""
        reason = self.exempt.get(record.name)
        if reason is not None:
            pytest.skip(f"exempt: {reason}")
        first = self.first_run if record.runs and record.name != self.first_run else ""
        if first and first not in self.exempt:
            self._try(first)
        for earlier in (first, *record.after):
            if earlier in self.failed_checks:
                self.failed_checks.add(record.name)  # nothing can build on this one, either
                pytest.skip(f"not made, because {earlier} fails")
        wrong, why = "", ""
        try:
            made()
        except NotApplicable as found:
            why = str(found)
        except Broken as found:
            wrong = str(found)
            self.failed_checks.add(record.name)
        except BaseException:
            self.failed_checks.add(record.name)
            raise
        if why:
            pytest.skip(f"not applicable: {why}")
        if wrong:
            pytest.fail(self._message(record, wrong), pytrace=False)

    def _try(self, name: str) -> None:
        """Find out once whether a check fails that others build on, also where it is made later or not chosen."""
        if name in self._tried:
            return
        self._tried.add(name)
        try:
            getattr(self, name).__wrapped__(self)
        except Exception:  # noqa: BLE001 - whatever it is, the check itself says it
            self.failed_checks.add(name)

    def _message(self, record: Check, seen: str) -> str:
        where = f'{CONTRACT_PAGE}, "{record.section}"'
        return f"the rule: {record.rule}\nwhat was seen: {seen}\nwhere it stands: {where}{self.how_again()}"

    def how_again(self) -> str:
        """What a failure says of how to see it again."""
        return ""
