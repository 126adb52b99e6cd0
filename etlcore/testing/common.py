"""What the contracts of all kinds of components share: the author's part, a scene for each run, and common checks."""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from etlcore.batch import Row
from etlcore.plugins import Plugins
from etlcore.plugins.records import Kind
from etlcore.spec import SpecError
from etlcore.testing.checks import Broken, Contract, NotApplicable, check
from etlcore.testing.faults import Fault, InjectedFault, Watch, raise_fault, wrapped
from etlcore.testing.runs import (
    ChildFault,
    Commands,
    Ended,
    Job,
    Killed,
    Stages,
    reference,
    run_here,
    run_process,
    write_pipeline,
)

SEED = "ETLCORE_TESTING_SEED"
"""The environment variable that chooses what the checks draw."""

CLOSE = "test_close_is_safe_after_open_raised"

_THREAD_GRACE = 1.0  # seconds for a thread that is about to end
_LISTED = 8  # rows that a message names


@dataclass(frozen=True, slots=True)
class Scene:
    """A place for runs that share options and state."""

    directory: Path
    options: Mapping[str, Any]
    state: Path


class ComponentContract(Contract):
    """The author's part: ``component``, ``options``, and what the contract of the kind asks for."""

    kind: ClassVar[Kind]
    component: ClassVar[str | type[Any]]
    """What is tested: its name in pipeline files, or its class."""
    options: Any = {}  # noqa: RUF012 - authors write a dict or a method here
    """Its options: a dict, or a method that is given a fresh directory and returns one."""
    patience: ClassVar[float] = 60.0
    """Seconds after which a run that has not ended counts as stuck."""

    @pytest.fixture(autouse=True)
    def _etlcore_testing(self, tmp_path: Path) -> None:
        self._root = tmp_path
        self._scenes = 0
        self.seed = int(os.environ.get(SEED) or random.SystemRandom().randrange(1_000_000))
        self.random = random.Random(self.seed)

    def how_again(self) -> str:
        return f"\nto draw the same again: {SEED}={self.seed}"

    # -- the component ---------------------------------------------------------------------------------------------

    def component_class(self) -> type[Any]:
        """The class under test. Raises PluginError where a name leads to none."""
        given = getattr(self, "component", None)
        if isinstance(given, str):
            plugins = Plugins()
            return plugins.load(plugins.resolve(given, self.kind))
        if isinstance(given, type):
            return given
        raise TypeError(f'{type(self).__name__} must say what it tests: component = "acme.out", or the class')

    @property
    def name(self) -> str:
        """What pipelines call the component."""
        return self.component if isinstance(self.component, str) else self.component.__name__

    def scene(self) -> Scene:
        """A fresh directory, with options of its own."""
        self._scenes += 1
        directory = self._root / f"scene{self._scenes}"
        directory.mkdir()
        given = self.options
        options = given(directory) if callable(given) else given
        return Scene(directory, dict(options), directory / ".etl")

    def stage(self, scene: Scene, **more: Any) -> dict[str, Any]:
        """The component's stage in a pipeline file."""
        given = {key: value for key, value in more.items() if value is not None}
        return {self.kind: self.name, "with": dict(scene.options), **given}

    def run(
        self,
        scene: Scene,
        stages: Stages,
        classes: Mapping[str, type[Any]],
        watch: Watch | None = None,
        commands: Commands | None = None,
    ) -> Ended:
        """Run a pipeline in this process, with the component under the eyes of a watch."""
        watched = {**classes, self.name: wrapped(self.component_class(), watch or Watch())}
        try:
            return run_here(scene.directory, stages, watched, scene.state, commands=commands, patience=self.patience)
        except SpecError as error:
            raise Broken(f"the stage cannot be run as it is written:\n{error}") from None

    def run_killed(
        self,
        scene: Scene,
        stages: Stages,
        fault: ChildFault | None,
        *,
        key: str | None = None,
        rows: list[list[Row]] | None = None,
        lockstep: bool = False,
    ) -> Killed:
        """Run a pipeline in a process of its own, which is killed at a moment; `runs.Job` has the parts.

        Raises Broken when it ends in any other way.
        """
        given = self.component
        job = Job(
            component=given if isinstance(given, str) else reference(given),
            kind=self.kind,
            name=self.name,
            file=write_pipeline(scene.directory, stages, timeout=self.patience),
            state=scene.state,
            journal=scene.directory / "journal",
            fault=fault,
            key=key,
            rows=rows or [],
            lockstep=lockstep,
            out=scene.directory / "out",
        )
        try:
            killed = run_process(job, patience=self.patience)
        except TimeoutError as error:
            raise Broken(str(error)) from None
        if killed.code != -signal.SIGKILL:
            raise Broken(f"the run in a process of its own ended with {killed.code}:\n{killed.stderr}")
        return killed

    def plain_run(self, scene: Scene, watch: Watch) -> Ended:
        """Any run of the component that comes to its end."""
        raise NotImplementedError

    # -- checks that need no run -----------------------------------------------------------------------------------

    @check("every option has a description", "Components", runs=False)
    def test_every_option_is_described(self) -> None:
        config = self.component_class().Config
        if config is None:
            raise NotApplicable("it has no options")
        missing = [name for name, field in config.model_fields.items() if not field.description]
        if missing:
            raise Broken(f"no description: {', '.join(missing)}. Write Field(…, description=…)")

    @check("options that hold secrets are SecretStr", "Components", runs=False)
    def test_secrets_are_kept_secret(self) -> None:
        from pydantic import SecretBytes, SecretStr

        config = self.component_class().Config
        if config is None:
            raise NotApplicable("it has no options")
        for name, field in config.model_fields.items():
            said = str(field.annotation)
            plain = field.annotation is str or re.search(r"\bstr\b", said)
            hidden = field.annotation in (SecretStr, SecretBytes) or "Secret" in said
            if _SECRET.search(name) and plain and not hidden:
                raise Broken(f"the option {name} is a plain text: its value would be shown in messages")

    @check("the plugin's module does not import what only its components need", "A plugin", runs=False)
    def test_listing_the_plugin_imports_no_component(self) -> None:
        import subprocess
        import sys

        if not isinstance(self.component, str):
            raise NotApplicable("it is given as a class, not by the name that a plugin offers it under")
        plugins = Plugins()
        target = plugins.resolve(self.component, self.kind).target.partition(":")[0]
        if target == plugins.entry(self.component).point.value:
            raise NotApplicable("the component is in the plugin's own module")
        program = (
            "import sys; from etlcore.plugins import Plugins; "
            f"Plugins().resolve({self.component!r}, {self.kind!r}); sys.exit({target!r} in sys.modules)"
        )
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        done = subprocess.run([sys.executable, "-c", program], env=environ, check=False, capture_output=True)
        if done.returncode:
            raise Broken(f"{target} is imported when the plugin's components are merely listed")

    # -- checks of the life of every component ---------------------------------------------------------------------

    @check("close is called once, always, also when open raised; then it has nothing to undo, or a part", "Components")
    def test_close_is_safe_after_open_raised(self) -> None:
        for moment, said in (("before", "before it began"), ("after", "once it was done")):
            scene = self.scene()
            ended = self.plain_run(scene, Watch((Fault("open", 1, moment, raise_fault),)))  # type: ignore[arg-type]
            for failure in ended.report.failures:
                if failure.during == "close":
                    raise Broken(f"open raised {said}, and then close raised {failure.error}")
            if not any(InjectedFault.__name__ in failure.error for failure in ended.report.failures):
                raise Broken(f"open raised {said}, and the run did not end: {ended.trouble or 'it went on'}")
            again = self.plain_run(scene, Watch())
            if again.trouble:
                raise Broken(f"open raised {said}; after close it could not be opened again: {again.trouble}")

    @check("a component leaves no thread behind after close", "Components")
    def test_no_thread_is_left_behind(self) -> None:
        before = set(threading.enumerate())
        for faults, said in ((), "a run"), ((Fault("open", 1, "after", raise_fault),), "a run whose open raised"):
            self.plain_run(self.scene(), Watch(faults))
            until = time.monotonic() + _THREAD_GRACE
            for thread in set(threading.enumerate()) - before:
                thread.join(max(0.0, until - time.monotonic()))
            left = sorted(thread.name for thread in set(threading.enumerate()) - before)
            if left:
                raise Broken(f"after {said} these threads were still alive: {', '.join(left)}")


_SECRET = re.compile(r"(^|_)(password|passwd|secret|token|api_key)($|_)")


def named(identities: Iterable[str]) -> str:
    """Rows as a message names them."""
    listed = list(identities)
    shown = ", ".join(f"{identity:.60}" for identity in listed[:_LISTED])
    more = f" … ({len(listed):,} rows)" if len(listed) > _LISTED else ""
    return shown + more


def differences(wanted: Counter[str], found: Counter[str], *, twice: bool) -> str:
    """What is missing, and what is there that should not be; empty when nothing is. ``twice``: repeats are allowed."""
    lines = []
    if missing := wanted - found:
        lines.append(f"missing: {named(missing)}")
    surplus = Counter({one: times for one, times in (found - wanted).items() if not (twice and one in wanted)})
    known = [one for one in surplus if one in wanted]
    strange = [one for one in surplus if one not in wanted]
    if known:
        lines.append(f"more than once: {named(known)}")
    if strange:
        lines.append(f"not expected: {named(strange)}")
    return "; ".join(lines)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for something that another thread does; False when it did not come in so many seconds."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True
