"""One chaos run: a pipeline of a seed, disturbed in every way, and then let go to the end."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from etlcore_sls.emulator import Emulator

from tests.chaos.drawing import SLOW, Drawing
from tests.chaos.oracle import Broken, Oracle, in_database
from tests.e2e.support import GROUP, LOGSTORE, PATIENCE, PROJECT, EtlRun, Store

HERE = Path(__file__).parent
AHEAD = 3.0  # seconds
ENDS = ("kill", "kill", "signal", "two signals", "signal and kill")
TIMEOUT = 60  # seconds that the group waits for a consumer: on the emulator's clock, which is moved on


def install(site: Path, mutation: str | None = None) -> dict[str, str]:
    """The plugin of the chaos pipelines as pip would install it; the environment in which a process finds it.

    With a ``mutation``, Python itself applies it at the start of each process: nothing in etlcore knows of it.
    """
    info = site / "chaos_plugin-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: chaos-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[etlcore]\nchaos = chaos_plugin\n")
    shutil.copy(HERE / "plugin.py", site / "chaos_plugin.py")
    if mutation is not None:
        shutil.copy(HERE / "mutations.py", site / "chaos_mutations.py")
        (site / "sitecustomize.py").write_text(f"import chaos_mutations\nchaos_mutations.{mutation}()\n")
    return {"PYTHONPATH": str(site)}


class Scene:
    """``play`` raises `Broken` when a promise is.

    ``pause``, ``last_pause``: seconds that a slow stage takes for a row, and those in the last run; ``linger``: so
    many seconds more pass before something happens to a run; ``ends``: how a run may be ended; ``arguments``: further
    ones of `etl run`.
    """

    def __init__(
        self,
        seed: int,
        store: Store,
        *,
        state: Path | None = None,
        mutation: str | None = None,
        pause: float = SLOW,
        last_pause: float = 0.0,
        linger: float = 0.0,
        ends: Sequence[str] = ENDS,
        arguments: Sequence[str] = (),
    ) -> None:
        self.dice = random.Random(f"moments {seed}")
        self._commits = random.Random(f"commits {seed}")
        self.store = store
        self.drawing = Drawing(seed)
        self.state = state or store.directory / "state"
        self.environ = {**install(store.directory / "site", mutation), "PAUSE": str(pause)}
        self.last_pause = last_pause
        self.linger = linger
        self.ends = ends
        self.arguments = arguments
        shutil.copy(HERE / "stages.py", store.directory / "stages.py")
        store.create(self.dice.choice([1, 2, 4]))
        source = store.source(
            until="${UNTIL:-never}",
            group_timeout_seconds=TIMEOUT,
            fetch_groups=self.dice.choice([1, 4, 50]),
            heartbeat_seconds=0.3,
        )
        self.file = store.pipeline(self.drawing.text(source, str(store.directory)))
        self.oracle = Oracle(self.drawing, store, self.state)
        self.disturbed = False
        self.story: list[str] = []
        """What happened, for whoever replays it."""

    def play(self, rounds: int = 3) -> None:
        try:
            for number in range(rounds):
                self.store.put(self.dice.randint(50, 250), per_group=self.dice.choice([1, 3, 10]))
                self._round(number)
            self._last()
        except AssertionError as error:
            raise Broken(f"{error}\nit went so: {'; '.join(self.story)}\n{self.file.read_text()}") from None

    def start(self, name: str, **environ: str) -> EtlRun:
        arguments = ("--state", str(self.state), *self.arguments)
        return self.store.run(self.file, name, *arguments, environ={**self.environ, **environ})

    def _round(self, number: int) -> None:
        self.disturbed = False
        self._order_faults()
        held = self._hold_commits()
        run = self.start(f"run-{number}")
        self._some_moment(run)
        if held:
            self._until_ahead(run)
        for _ in range(self.dice.randint(0, 2)):
            what = self.dice.choice([self._evict, self._clock, self._pause, self._expire, self._order_faults])
            what(run)
            self._some_moment(run)
        killed = self._end(run)
        self.store.control.clear_faults()
        self.oracle.after(run, killed=killed, disturbed=self.disturbed)

    def _last(self) -> None:
        self._tell("to the end")
        run = self.start("last", UNTIL="end", CHANCE="0", PAUSE=str(self.last_pause)).ended(0)
        self.oracle.after(run, killed=False, disturbed=False)
        self.oracle.at_the_end()

    # --- what happens to a run ---------------------------------------------------------------------------------------

    def _tell(self, what: str) -> None:
        self.story.append(what)

    def _some_moment(self, run: EtlRun) -> None:
        """Some time after its rows begin to move, as a rule; sometimes while it starts."""
        if self.dice.random() < 0.85:
            patience = time.monotonic() + PATIENCE
            last = self.store.control.last_event() if self.dice.random() < 0.3 else 0
            while not self.store.control.events("pull", after=last) and run.process.poll() is None:
                if last and self.dice.random() < 0.05:
                    break
                if time.monotonic() > patience:
                    raise Broken("nothing is read")
                time.sleep(0.02)
        time.sleep(self.linger + self.dice.uniform(0.0, 0.4))

    def _order_faults(self, _: EtlRun | None = None) -> None:
        dice, control = self.dice, self.store.control
        for _number in range(dice.randint(0, 3)):
            operation = dice.choice(["pull_logs", "heartbeat", "update_checkpoint", "update_checkpoint", None])
            how = dice.choice(["error", "cut", "answer lost", "delay"])
            count = dice.randint(1, 3)
            self.disturbed |= operation in (None, "update_checkpoint")
            self._tell(f"{count} times {how} of {operation}")
            if how == "error":
                status, code = dice.choice(
                    [(500, "InternalServerError"), (503, "ServerBusy"), (403, "ReadQuotaExceed")]
                )
                control.fault("error", operation, count=count, status=status, code=code)
            elif how == "delay":
                control.fault("delay", operation, count=count, seconds=0.2)
            elif how == "cut":
                control.fault("cut", operation, count=count)
            else:
                control.fault("cut", operation, count=count, point="after", response_bytes=0)

    def _hold_commits(self) -> bool:
        """Before some runs into a transactional sink: no commit reaches the service, so the sink is far ahead of it.

        Otherwise a kill would have to hit the moment between a transaction and the commit behind it.
        """
        if self.drawing.exact is None or self._commits.random() < 0.4:
            return False
        self._tell("no commit reaches the service")
        self.disturbed = True
        self.store.control.fault("error", "update_checkpoint", status=503, code="ServerBusy")
        return True

    def _until_ahead(self, run: EtlRun) -> None:
        """Give the transactional sink some time for rows of this run; there may be none for it."""
        file = self.store.directory / f"{self.drawing.exact}.db"
        before, patience = len(in_database(file)), time.monotonic() + AHEAD
        while len(in_database(file)) == before and run.process.poll() is None and time.monotonic() < patience:
            time.sleep(0.02)

    def _lose_shards(self, how: str, act: Callable[[], object]) -> None:
        self._tell(how)
        self.disturbed = True
        self.oracle.about_to_break()
        act()

    def _consumers(self) -> list[str]:
        if not self.oracle.has_group():
            return []
        return list(self.store.state()["consumers"])

    def _evict(self, _: EtlRun) -> None:
        for consumer in self._consumers():
            self._lose_shards("evicted", partial(self.store.control.evict, PROJECT, LOGSTORE, GROUP, consumer))

    def _clock(self, _: EtlRun) -> None:
        seconds = self.dice.choice([TIMEOUT + 5, 300, -30])
        self._lose_shards(f"clock {seconds:+}", lambda: self.store.control.advance_clock(seconds))

    def _pause(self, run: EtlRun) -> None:
        """The process stands still for longer than the group waits for it."""
        run.send(signal.SIGSTOP)
        self._lose_shards("SIGSTOP", lambda: self.store.control.advance_clock(TIMEOUT + 5))
        self.store.put(20, per_group=5)
        time.sleep(self.dice.uniform(0.0, 0.2))
        run.send(signal.SIGCONT)

    def _expire(self, _: EtlRun) -> None:
        """The service lets logs go: what is committed, and perhaps a little more, which is noted."""
        checkpoints = self._checkpoints()
        shard = self.dice.choice(sorted(self.store.groups))
        groups = self.store.groups[shard]
        begin = checkpoints.get(shard, 0)
        end = min(len(groups), begin + self.dice.choice([0, 0, 2]))
        self._tell(f"shard {shard} expires up to {end}, committed up to {begin}")
        self.oracle.expired.update(number for group in groups[begin:end] for number in group)
        self.store.control.trim(PROJECT, LOGSTORE, shard, keep=len(groups) - end)

    def _checkpoints(self) -> dict[int, int]:
        return self.store.checkpoints() if self.oracle.has_group() else {}

    def _end(self, run: EtlRun) -> bool:
        """End the run; whether it was killed."""
        how = self.dice.choice(self.ends)
        self._tell(how)
        number = self.dice.choice([signal.SIGTERM, signal.SIGINT])
        if how == "kill":
            run.kill()
            return True
        run.send(number)
        if how != "signal":
            time.sleep(self.dice.uniform(0.0, 0.3))
            if how == "signal and kill":
                run.kill()
                return True
            run.send(number)
        self.store.control.clear_faults()
        if not _ends(run):
            raise Broken(f"it does not end:\n{run.stderr}")
        return False


def _ends(run: EtlRun) -> bool:
    patience = time.monotonic() + PATIENCE
    while run.process.poll() is None and time.monotonic() < patience:
        time.sleep(0.02)
    return run.process.poll() is not None


def play(seed: int, directory: Path, *, rounds: int = 3, **options: Any) -> Scene:
    """A whole run of one seed in a directory of its own; ``options`` as those of `Scene`."""
    directory.mkdir(parents=True, exist_ok=True)
    with Emulator() as emulator:
        store = Store(emulator, directory)
        scene = Scene(seed, store, **options)
        try:
            scene.play(rounds)
        finally:
            emulator.control.clear_faults()
            store.close()
    return scene


def replay(seed: int) -> str:
    """The command that runs one seed again."""
    return f"python -m pytest tests/chaos/test_chaos.py --seeds 1 --first-seed {seed}"
