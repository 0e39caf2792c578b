# SPDX-License-Identifier: Apache-2.0
"""Private servers as fixtures; one server serves all tests of a file."""
import pytest

import servers


@pytest.fixture(scope="module")
def postgres():
    try:
        server = servers.Postgres()
    except servers.NotInstalled as missing:
        pytest.skip(f"{missing} is not installed")
    with server:
        yield server
