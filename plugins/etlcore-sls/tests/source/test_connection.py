"""Signatures, credentials, endpoints and proxies: all against a service that checks every signature."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
from aliyun.log.credentials import Credentials, CredentialsProvider
from etlcore_sls.errors import SlsFailure

KEY, SECRET = "etlcore-demo-id", "etlcore-demo-secret"
NAME = "http://cn-emulator.log.aliyuncs.com"


@pytest.fixture
def filled(store: Any) -> Any:
    store.create(2)
    for shard in range(2):
        store.put(shard, range(shard * 10, shard * 10 + 10))
    return store


def _reads_all(store: Any, **options: Any) -> Any:
    member = store.member(until="end", **options).start().ended()
    assert len(member.rows) == 20
    return member


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module of the user's, called `acme_keys`."""
    module = types.ModuleType("acme_keys")
    monkeypatch.setitem(sys.modules, "acme_keys", module)
    return module


OWN: dict[str, Any] = {"access_key_id": None, "access_key_secret": None}


# --- signatures ------------------------------------------------------------------------------------------------------


def test_signature_v1(filled: Any) -> None:
    _reads_all(filled, signature="v1")


def test_signature_v4(filled: Any) -> None:
    _reads_all(filled, signature="v4", region="cn-emulator")


def test_signature_v4_with_the_query_and_characters_that_are_encoded(filled: Any) -> None:
    filled.control.put("demo", "logs", [{"n": "20", "kind": "a b/c~ü+&="}], shard=0)
    member = filled.member(until="end", signature="v4", region="cn-emulator", query="* | where kind = 'a b/c~ü+&='")
    assert member.start().ended().values() == ["20"]


def test_signature_v4_takes_the_region_from_the_endpoint(filled: Any) -> None:
    """The emulator is the proxy, and so stands for every name."""
    _reads_all(filled, signature="v4", endpoint="http://cn-emulator.log.aliyuncs.com", proxy=filled.emulator.endpoint)


# --- credentials -----------------------------------------------------------------------------------------------------


def test_temporary_credentials(filled: Any) -> None:
    filled.control.set_keys([{"access_key_id": "STS.1", "secret": "s", "security_token": "token"}])
    sts = {"access_key_id": "STS.1", "access_key_secret": "s"}
    for signature in ({"signature": "v1"}, {"signature": "v4", "region": "cn-emulator"}):
        _reads_all(filled, **sts, **signature, security_token="token", consumer_group=f"group-{signature['signature']}")
    error = filled.member(**sts, security_token="another").start().ended(SlsFailure).error
    assert "check `access_key_id` and its secret" in str(error)


def test_credentials_from_the_environment(filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    filled.control.set_keys([{"access_key_id": "STS.1", "secret": "s", "security_token": "token"}])
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "STS.1")
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s")
    monkeypatch.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", "token")
    _reads_all(filled, **OWN)


def test_no_credentials(filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALIBABA_CLOUD_ACCESS_KEY_ID", raising=False)
    error = filled.member(**OWN).start().ended(SlsFailure).error
    assert "no credentials: give `access_key_id` and `access_key_secret`, or set ALIBABA_CLOUD" in str(error)


def test_credentials_of_a_function(filled: Any, provider: types.ModuleType) -> None:
    provider.keys = lambda: (KEY, SECRET)  # type: ignore[attr-defined]
    _reads_all(filled, **OWN, credentials="acme_keys:keys")


def test_credentials_of_a_provider_as_the_sdk_has_them(filled: Any, provider: types.ModuleType) -> None:
    class Provider(CredentialsProvider):  # type: ignore[misc]
        def get_credentials(self) -> Credentials:
            return Credentials(KEY, SECRET)

    provider.Provider = Provider  # type: ignore[attr-defined]
    provider.ready = Provider()  # type: ignore[attr-defined]
    _reads_all(filled, **OWN, credentials="acme_keys:Provider")
    filled.put(0, range(20, 30))
    assert len(filled.member(until="end", **OWN, credentials="acme_keys:ready").start().ended().rows) == 10


def test_credentials_that_are_replaced_while_it_runs(filled: Any, provider: types.ModuleType) -> None:
    """The service refuses the old ones; the function is asked again, and nothing is lost or stopped."""
    current = ["old"]
    asked = []

    def keys() -> tuple[str, str, str]:
        asked.append(current[0])
        return f"STS.{current[0]}", "s", "token"

    provider.keys = keys  # type: ignore[attr-defined]
    sts = {"secret": "s", "security_token": "token"}
    filled.control.set_keys([{"access_key_id": "STS.old", **sts}])
    member = filled.member(**OWN, credentials="acme_keys:keys").start().until_rows(20)
    current[0] = "new"
    filled.control.set_keys([{"access_key_id": "STS.new", **sts}])
    filled.put(0, range(20, 30))
    member.until_rows(30).stop().ended()
    assert not member.forgotten
    assert asked.count("old") == 1  # it is kept, not asked for every request
    assert filled.checkpoints() == {0: 2, 1: 1}


def test_credentials_that_are_refused_for_good_stop_the_run(filled: Any) -> None:
    member = filled.member().start().until_rows(20)
    filled.control.set_keys([{"access_key_id": "other", "secret": "s"}])
    error = member.ended(SlsFailure).error
    assert "check `access_key_id`" in str(error)


def test_a_function_that_fails_once_is_asked_again(filled: Any, provider: types.ModuleType) -> None:
    asked = []

    def keys() -> tuple[str, str]:
        asked.append(1)
        if len(asked) == 1:
            raise OSError("the token service is away")
        return KEY, SECRET

    provider.keys = keys  # type: ignore[attr-defined]
    _reads_all(filled, **OWN, credentials="acme_keys:keys")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("acme_keys:nothing", "`credentials: acme_keys:nothing` cannot be loaded: module 'acme_keys' has no attribute"),
        (
            "no_such_module:keys",
            "`credentials: no_such_module:keys` cannot be loaded: No module named 'no_such_module'",
        ),
        ("acme_keys:text", "is neither a function nor an object with get_credentials()"),
        ("acme_keys:wrong", r"`credentials: acme_keys:wrong` gave str; it must give \(id, secret\)"),
    ],
)
def test_credentials_that_cannot_be_used(filled: Any, provider: types.ModuleType, name: str, message: str) -> None:
    provider.text = "key"  # type: ignore[attr-defined]
    provider.wrong = lambda: "key"  # type: ignore[attr-defined]
    error = filled.member(**OWN, credentials=name).start().ended(SlsFailure).error
    with pytest.raises(SlsFailure, match=message):
        raise error


def test_secrets_do_not_show(store: Any) -> None:
    config = store.config(access_key_secret="hush-hush", security_token="be-quiet")
    assert "hush" not in repr(config) + str(config) + config.model_dump_json()
    assert "quiet" not in repr(config) + str(config) + config.model_dump_json()


# --- endpoints and proxies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:{}", "127.0.0.1:{}", "http://127.0.0.1:{}/", "localhost:{}"])
def test_addresses(filled: Any, endpoint: str) -> None:
    _reads_all(filled, endpoint=endpoint.format(filled.emulator.port))


def test_an_address_on_this_machine_is_reached_without_a_proxy(filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    _reads_all(filled)


def test_a_name_through_the_proxy_of_the_environment(filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", filled.emulator.endpoint)
    _reads_all(filled, endpoint=NAME)


def test_a_name_through_a_proxy_of_its_own(filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    _reads_all(filled, endpoint=NAME, proxy=filled.emulator.endpoint)
