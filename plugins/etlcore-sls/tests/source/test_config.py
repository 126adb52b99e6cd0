"""The options: what is accepted, and what is said about what is not."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from etlcore_sls.config import SlsConfig
from pydantic import ValidationError

GIVEN = {"endpoint": "cn-hangzhou.log.aliyuncs.com", "project": "p", "logstore": "l", "consumer_group": "g"}


def _config(**options: Any) -> SlsConfig:
    return SlsConfig.model_validate({**GIVEN, **options})


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ("cn-hangzhou.log.aliyuncs.com", "http://cn-hangzhou.log.aliyuncs.com"),
        ("https://cn-hangzhou.log.aliyuncs.com/", "https://cn-hangzhou.log.aliyuncs.com"),
        ("HTTPS://Cn-Hangzhou.log.aliyuncs.com", "https://cn-hangzhou.log.aliyuncs.com"),
        ("127.0.0.1:8090", "http://127.0.0.1:8090"),
        (" emulator ", "emulator"),
    ],
)
def test_endpoints(given: str, endpoint: str) -> None:
    assert _config(endpoint=given).endpoint == endpoint


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("begin", "begin"),
        ("end", "end"),
        (1_714_521_600, 1_714_521_600),
        ("1714521600", 1_714_521_600),
        ("2024-05-01T08:00:00+08:00", 1_714_521_600),
        ("2024-05-01 00:00:00Z", 1_714_521_600),
    ],
)
def test_start(given: Any, moment: Any) -> None:
    assert _config(start=given).start == moment


@pytest.mark.parametrize("given", [None, "", "never"])
def test_without_an_end(given: Any) -> None:
    assert _config(until=given).until == "never"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": ""}, "the endpoint is empty; write for example"),
        ({"endpoint": "ftp://host"}, "the endpoint starts with ftp://; it can start with http:// or https://"),
        ({"endpoint": "host:many"}, "'host:many' is not an endpoint"),
        ({"endpoint": "http://host/path"}, "'http://host/path' is not an endpoint; write host or host:port"),
        ({"endpoint": "p.cn-hangzhou.log.aliyuncs.com"}, "begins with the project; write cn-hangzhou.log.aliyuncs.com"),
        ({"endpoint": "http://[::1]:80"}, "is an IPv6 address, which the official SDK cannot use"),
        ({"project": "a/b"}, "'a/b' is not a name in SLS"),
        ({"logstore": "a?b"}, "'a\\?b' is not a name in SLS"),
        ({"consumer_group": ""}, "'' is not a name in SLS"),
        ({"start": "yesterday"}, "'yesterday' is not a time; write for example .* \\(or one of: begin, end\\)"),
        ({"start": "2024-05-01T08:00:00"}, "'2024-05-01T08:00:00' has no time zone; write for example"),
        ({"start": 1_714_521_600_000}, "1714521600000 is not in seconds since 1970"),
        ({"start": True}, "True is not a time"),
        ({"until": "begin"}, "'begin' is not a time; .* \\(or one of: never, end\\)"),
        ({"start": 200, "until": 100}, "`until` is not after `start`"),
        ({"query": "* | where a = '1'", "processor": "x"}, "`query` and `processor` exclude each other"),
        ({"access_key_id": "a"}, "`access_key_id` is given without `access_key_secret`"),
        ({"access_key_secret": "a"}, "`access_key_secret` is given without `access_key_id`"),
        ({"security_token": "a"}, "`security_token` is given without `access_key_id`"),
        (
            {"access_key_id": "a", "access_key_secret": "b", "credentials": "m:f"},
            "`credentials` and `access_key_id` exclude each other",
        ),
        ({"credentials": "module.function"}, "'module.function' does not name credentials; write module:name"),
        ({"signature": "v4", "endpoint": "logs.example.com"}, "signature v4 needs a `region`"),
        ({"proxy": "host:80"}, "'host:80' is not a proxy; write http://host:port"),
        ({"fetch_groups": 1001}, "less than or equal to 1000"),
        ({"fetch_treads": 3}, "Extra inputs are not permitted"),
    ],
)
def test_what_is_wrong_is_said(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        _config(**options)


@pytest.mark.parametrize(
    "host",
    [
        "cn-hangzhou.log.aliyuncs.com",
        "cn-hangzhou-intranet.log.aliyuncs.com",
        "cn-hangzhou-internal.log.aliyuncs.com",
        "cn-hangzhou-share.log.aliyuncs.com",
    ],
)
def test_the_region_is_in_the_name(host: str) -> None:
    from etlcore_sls.endpoint import parse_endpoint

    assert parse_endpoint(host).region == "cn-hangzhou"
    assert _config(endpoint=host, signature="v4").signature == "v4"


def test_every_option_is_described() -> None:
    for name, field in SlsConfig.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_the_schema_can_be_written_as_json() -> None:
    schema = SlsConfig.model_json_schema()
    assert set(schema["required"]) == set(GIVEN)
    assert schema["properties"]["access_key_secret"]


def test_checking_options_does_not_import_the_sdk() -> None:
    """It takes longer than all the rest of a check."""
    code = "import sys, etlcore_sls.source; sys.exit('aliyun' in sys.modules or 'requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_records_of_the_plugin_import_nothing_heavy() -> None:
    code = (
        "import sys, etlcore_sls; list(etlcore_sls.etl_components()); list(etlcore_sls.etl_commands());"
        "sys.exit(bool({'aliyun', 'pydantic', 'pyarrow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
