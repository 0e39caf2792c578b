# SPDX-License-Identifier: Apache-2.0
"""Everything an upstream can do to a pool, at once: refusals, limits, errors and cut answers by turns."""
import collections

import pytest

from harness import poll
from test_credential import Pool

POST = "refresh_post_by_shortcode"
TASKS, GONE, CONCURRENCY = 60, 5, 6
REVOKED, TIRED, WORN = "bad-secret-revoked", "secret-tired-one", "secret-worn-two"
FAULTS = [f"credential={TIRED},rate=0.3,status=429,retry_after=2", f"credential={WORN},rate=0.3,status=429",
          "source=rapidapi-jotucker,rate=0.3,status=500", "source=rocketapi,rate=0.3,cut"]
FLOW = "{concurrency: %d, attempts: 20, fallback: error, retry: {first: 100ms, cap: 1s}}" % CONCURRENCY


@pytest.fixture
def storm(tmp_path):
    daemon = Pool(tmp_path, {POST: FLOW}, faults=FAULTS)
    yield daemon
    try:
        assert daemon.leaks() == []
    finally:
        daemon.stop()
        daemon.upstream.stop()


def after(requests, secret, status, within_ms):
    """The most requests with that secret that were answered so soon after such an answer."""
    mine = [line for line in requests if line["credential"] == secret]
    return max(sum(first["t"] <= line["t"] < first["t"] + within_ms for line in mine[i + 1:])
               for i, first in enumerate(mine) if first["status"] == status)


def test_storm(storm):
    for source, secret in [("rapidapi-arraybobo", REVOKED), ("rapidapi-arraybobo", TIRED), ("rapidapi-jotucker", WORN),
                           ("rapidapi-jotucker", "secret-sound-three")]:
        storm.add(source, "X-RapidAPI-Key", secret)
    storm.add("rocketapi", "Authorization", "secret-sound-four")
    storm.start()
    codes = storm.keys("post", TASKS) + [f"Nobody{i}" for i in range(GONE)]
    ended = storm.run(POST, *({"shortcode": code} for code in codes))
    assert ended == {"COMPLETE": TASKS, "FAILED": GONE}
    assert {row[0] for row in storm.store("SELECT error_code FROM scrape_request_log WHERE status = 'FAILED'")} == {"gone"}
    requests = storm.requests()
    statuses = collections.Counter((line["credential"], line["status"]) for line in requests)
    # What was refused is not used again, but for what was under way.
    assert after(requests, REVOKED, 401, 10**9) < CONCURRENCY
    assert after(requests, TIRED, 429, 1900) < CONCURRENCY		# it said 2 s
    assert after(requests, WORN, 429, 59000) < CONCURRENCY		# it did not say: a minute
    poll("the refused one to be disabled", lambda: [row for row in storm.credentials().values()
                                                    if row["state"] == "disabled" and "401" in row["reason"]])
    # A failing upstream is not asked much more often than there was to ask.
    first = len(codes)
    refused = sum(count for (_, status), count in statuses.items() if status in (401, 429))
    assert len(requests) - refused <= 3 * first, statuses
