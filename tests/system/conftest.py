# SPDX-License-Identifier: Apache-2.0
"""Private servers as fixtures; one server serves all tests of a file."""
import pytest

import servers


def started(kind):
    try:
        server = kind()
    except servers.NotInstalled as missing:
        pytest.skip(f"{missing} is not installed")
    with server:
        yield server


@pytest.fixture(scope="module")
def postgres():
    yield from started(servers.Postgres)


@pytest.fixture(scope="module")
def rabbitmq():
    yield from started(servers.RabbitMQ)


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory):
    if not servers.ClickHouse.installed():
        pytest.skip("ClickHouse's server (Debian: clickhouse-server) is not installed")
    with servers.ClickHouse(tmp_path_factory.mktemp("clickhouse")) as server:
        yield server


@pytest.fixture(scope="module")
def redis():
    yield from started(servers.Redis)
