"""What goes wrong on the way: quotas, errors that pass, keys that are not accepted, a service that is not there."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
from etlcore_sls.emulator import AccessKey
from etlcore_sls.errors import SlsError, SlsFailure
from etlcore_sls.pytest_plugin import EmulatorFactory

from etlcore import Batch, RetryAfter, RowsFailed


def numbered(count: int) -> Batch:
    return Batch.from_rows([{"__time__": 1714550400, "n": n} for n in range(count)])


def numbers(target: Any) -> list[int]:
    return sorted(int(value) for value in target.values())


# --- quotas ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code"),
    [(403, "WriteQuotaExceed"), (403, "ShardWriteQuotaExceed"), (403, "ProjectQuotaExceed"), (429, "Throttled")],
)
def test_a_quota_is_waited_for(target: Any, status: int, code: str) -> None:
    target.fault("error", status=status, code=code, count=1)
    sink, batch = target.sink(), numbered(10)
    with pytest.raises(RetryAfter, match=code) as later:
        sink.write(batch)
    assert 0 < later.value.seconds <= 0.5
    assert target.logs() == []
    sink.write(batch)
    assert numbers(target) == list(range(10))
    assert sink.context.metrics.counts == {"quota_waits": 1, "put_requests": 1}


def test_what_was_acknowledged_before_a_quota_is_not_written_again(target: Any) -> None:
    target.fault("error", status=403, code="WriteQuotaExceed", skip=2, count=3)
    sink, batch = target.sink(put_logs=10), numbered(50)
    waits = []
    while True:
        try:
            sink.write(batch)
            break
        except RetryAfter as later:
            waits.append(later.seconds)
    assert len(waits) == 3
    assert all(0.25 * 2**n <= wait <= 0.5 * 2**n for n, wait in enumerate(waits))  # longer each time
    assert numbers(target) == list(range(50))


def test_the_waits_for_a_quota_are_bounded_and_begin_anew(target: Any) -> None:
    fault = target.fault("error", status=403, code="WriteQuotaExceed")
    sink, batch = target.sink(), numbered(1)

    def wait() -> float:
        with pytest.raises(RetryAfter) as later:
            sink.write(batch)
        return later.value.seconds

    assert max(wait() for _ in range(20)) <= 10
    target.control.release(fault)
    sink.write(batch)
    target.fault("error", status=403, code="WriteQuotaExceed")
    assert wait() <= 0.5


def test_another_batch_after_a_quota_is_written_in_full(target: Any) -> None:
    """The runtime may give the first one up."""
    target.fault("error", status=403, code="WriteQuotaExceed", skip=1, count=1)
    sink = target.sink(put_logs=10)
    with pytest.raises(RetryAfter):
        sink.write(numbered(20))
    sink.write(Batch.from_rows([{"n": n} for n in range(100, 120)]))
    assert numbers(target) == [*range(10), *range(100, 120)]


# --- errors that pass ------------------------------------------------------------------------------------------------

PASSING = [
    {"action": "error", "status": 500, "code": "InternalServerError"},
    {"action": "error", "status": 503, "code": "ServerBusy"},
    {"action": "cut"},
]


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: fault.get("code", fault["action"]))
def test_an_error_is_told_at_once_and_the_same_batch_can_be_written_then(target: Any, fault: dict[str, Any]) -> None:
    """Whether to try again is the stage's policy. The official SDK would try ten times, a second apart."""
    target.fault(count=1, **fault)
    sink, batch = target.sink(), numbered(10)
    with pytest.raises(SlsError) as error:
        sink.write(batch)
    assert error.value.is_transient
    assert not error.value.is_quota
    assert len(target.control.events("fault", operation="put_logs")) >= 1
    assert target.logs() == []
    sink.write(batch)
    assert numbers(target) == list(range(10))


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: fault.get("code", fault["action"]))
def test_an_error_amid_a_batch_names_the_rows_that_are_not_written(target: Any, fault: dict[str, Any]) -> None:
    target.fault(skip=2, count=1, **fault)
    with pytest.raises(RowsFailed) as failed:
        target.sink(put_logs=10).write(numbered(50))
    assert sorted(failed.value.reasons) == list(range(20, 50))
    assert all(reason.startswith("not written: ") for reason in failed.value.reasons.values())
    assert numbers(target) == list(range(20))


def test_an_answer_that_is_lost_writes_twice_and_loses_nothing(target: Any) -> None:
    """SLS has no way to tell it that these are the same logs; so the sink is not idempotent, and says so."""
    target.fault("cut", point="after", count=1)
    sink, batch = target.sink(), numbered(5)
    with pytest.raises(SlsError):
        sink.write(batch)
    sink.write(batch)
    assert numbers(target) == sorted([*range(5), *range(5)])
    assert (sink.idempotent, sink.transactional) == (False, False)


def test_a_write_returns_when_the_service_has_the_logs(target: Any) -> None:
    sink = target.sink(put_logs=10)
    sink.write(numbered(30))
    assert sum(put["logs"] for put in target.puts()) == 30


# --- who, and where --------------------------------------------------------------------------------------------------


def test_a_logstore_that_is_not_there(target: Any) -> None:
    sink = target.made(logstore="nowhere")
    with pytest.raises(SlsFailure, match=r"cannot use the logstore demo/nowhere at .*LogStoreNotExist"):
        sink.open(sink.context)


def test_a_secret_that_is_wrong(target: Any) -> None:
    sink = target.made(access_key_secret="wrong")
    with pytest.raises(SlsFailure, match=r"SignatureNotMatch.*check the access key's secret"):
        sink.open(sink.context)


def test_no_credentials(target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALIBABA_CLOUD_ACCESS_KEY_ID", raising=False)
    sink = target.made(access_key_id=None, access_key_secret=None)
    with pytest.raises(SlsFailure, match="no credentials: give `access_key_id`"):
        sink.open(sink.context)


def test_a_service_that_is_not_there_is_told_when_the_run_is_stopped(target: Any) -> None:
    sink = target.made(endpoint="http://127.0.0.1:1")
    sink.context.stopping.set()
    with pytest.raises(SlsFailure, match=r"cannot use the logstore demo/.* at http://127.0.0.1:1: no answer"):
        sink.open(sink.context)


def test_closing_what_was_never_opened(target: Any) -> None:
    target.made().close()


def test_a_key_that_may_only_write(target: Any) -> None:
    """Listing shards needs a permission of its own, which the sink can do without."""
    target.control.fault("error", "list_shards", logstore=target.logstore, status=403, code="Unauthorized", count=1)
    target.sink().write(numbered(3))
    assert numbers(target) == [0, 1, 2]


@pytest.mark.parametrize("options", [{}, {"signature": "v4", "region": "cn-emulator"}], ids=["v1", "v4"])
@pytest.mark.parametrize("hash_key", [None, "n"])
def test_both_signatures(target: Any, options: dict[str, Any], hash_key: str | None) -> None:
    target.sink(hash_key=hash_key, **options).write(numbered(3))
    assert numbers(target) == [0, 1, 2]


def test_credentials_that_expire_are_asked_for_again(
    sls_emulator_factory: EmulatorFactory, make_target: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = make_target(emulator=sls_emulator_factory())
    old, new = (AccessKey(f"id-{n}", f"secret-{n}", f"token-{n}") for n in "12")
    current = [old]
    module = types.ModuleType("sink_credentials")
    module.ask = lambda: (current[0].access_key_id, current[0].secret, current[0].security_token)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def accept(key: AccessKey) -> None:
        named = {"access_key_id": key.access_key_id, "secret": key.secret, "security_token": key.security_token}
        demo = {"access_key_id": target.emulator.key.access_key_id, "secret": target.emulator.key.secret}
        target.control.set_keys([named, demo])

    accept(old)
    sink = target.sink(access_key_id=None, access_key_secret=None, credentials="sink_credentials:ask")
    sink.write(numbered(1))
    current[0] = new
    accept(new)
    sink.write(numbered(2))
    assert numbers(target) == [0, 0, 1]
