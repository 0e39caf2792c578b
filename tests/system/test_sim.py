# SPDX-License-Identifier: Apache-2.0
"""The upstream simulator: shapes, paging, repeatability, faults, books, replay."""
import http.client
import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

SIM = os.path.join(os.environ.get("top_builddir", "build"), "sluice-sim")
NOW = 1_700_000_000
DAY = 86400
PROFILE_FIELDS = ("id,ig_id,name,website,followers_count,follows_count,profile_picture_url,username,"
                  "biography,media_count,")


class Sim:
    def __init__(self, tmp_path, *options):
        self.log = tmp_path / "requests.log"
        port_file = tmp_path / "port"
        self.process = subprocess.Popen(
            [SIM, "--port-file", port_file, "--log", self.log, "--now", str(NOW), *options],
            stdout=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline()
        assert re.fullmatch(r"listening on http://127\.0\.0\.1:\d+\n", ready), ready
        self.url = ready.split()[-1]
        assert port_file.read_text().strip() == self.url.rsplit(":", 1)[1]

    def get(self, path, body=None, headers=None, **query):
        """Status, headers, bytes."""
        url = path if path.startswith("http") else self.url + path
        if query:
            url += "?" + urllib.parse.urlencode(query)
        request = urllib.request.Request(url, data=body, headers=headers or {}, method="GET")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def json(self, path, expect=200, **rest):
        status, _, body = self.get(path, **rest)
        assert status == expect, body
        return json.loads(body)

    def keys(self, kind, count, first=0):
        return self.json("/_sim/keys", kind=kind, count=count, **{"from": first})

    def graph(self, handle, media="media{id,caption}", profile=PROFILE_FIELDS, expect=200, **rest):
        fields = f"business_discovery.username({handle}){{{profile}media_count,{media}}}"
        return self.json("/graphapi/v12.0/178414", fields=fields, access_token="t", expect=expect, **rest)

    def lines(self):
        time.sleep(1.5)
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(30) == 0
        self.process.stdout.close()


@pytest.fixture
def start(tmp_path):
    running = []

    def run(*options):
        running.append(Sim(tmp_path, *options))
        return running[-1]
    yield run
    for sim in running:
        sim.stop()


@pytest.fixture(scope="module")
def sim(tmp_path_factory):
    one = Sim(tmp_path_factory.mktemp("sim"))
    yield one
    one.stop()


def pages(first, following):
    """All pages of a list: first page, then following(page) gives the next page or None."""
    page = first
    for _ in range(100):
        yield page
        page = following(page)
        if page is None:
            return
    raise AssertionError("paging does not end")


def graph_posts(sim, handle):
    def following(page):
        after = page["business_discovery"]["media"]["paging"]["cursors"].get("after")
        return after and sim.graph(handle, media=f"media.after({after}){{id}}", profile="")
    for page in pages(sim.graph(handle), following):
        yield from page["business_discovery"]["media"]["data"]


def arraybobo_posts(sim, profile):
    def get(**cursor):
        return sim.json("/arraybobo/ig/posts/", id_user=profile, **cursor)["data"]["user"][
            "edge_owner_to_timeline_media"]

    def following(page):
        info = page["page_info"]
        return get(end_cursor=info["end_cursor"]) if info["has_next_page"] else None
    for page in pages(get(), following):
        yield from (edge["node"] for edge in page["edges"])


def jotucker_posts(sim, profile):
    def get(**cursor):
        return sim.json("/jotucker/medias_v2", user_id=profile, batch_size=50, **cursor)
    for page in pages(get(), lambda p: get(max_id=p["next_max_id"]) if p["more_available"] else None):
        yield from page["items"]


def rocketapi(sim, path, **body):
    answer = sim.json("/rocketapi/instagram/" + path, body=json.dumps(body).encode())
    assert answer["status"] == "done"
    return answer["response"]


def reels(get):
    def following(page):
        info = page["paging_info"]
        return get(max_id=info["max_id"]) if info["more_available"] else None
    for page in pages(get(), following):
        yield from (item["media"] for item in page["items"])


def test_profile_is_the_same_at_every_source(sim):
    profile_id = sim.keys("profile", 1, 7)[0]
    status, _, body = sim.get("/graphapi/v12.0/1", access_token="t",
                              fields="business_discovery.username(user_7){followers_count,media{id}}")
    assert status == 200 and 30_000 <= len(body) <= 60_000
    graph = json.loads(body)["business_discovery"]
    assert len(graph["media"]["data"]) == 12
    by_name = sim.json("/arraybobo/ig/info_username/", user="user_7")["user"]
    by_id = sim.json("/arraybobo/ig/info/", id_user=profile_id)["user"]
    jotucker = sim.json("/jotucker/user_info_by_id", user_id=profile_id)["user"]
    assert by_name == by_id == jotucker == sim.json("/jotucker/user_info_by_id", user_name="user_7")["user"]
    assert str(graph["ig_id"]) == str(by_id["pk"]) == by_id["id"] == profile_id
    assert graph["username"] == by_id["username"] == "user_7"
    for ours, theirs in (("followers_count", "follower_count"), ("follows_count", "following_count"),
                         ("media_count", "media_count"), ("name", "full_name"), ("biography", "biography")):
        assert graph[ours] == by_id[theirs], ours
    for path in ("hd_profile_pic_url_info", "interop_messaging_user_fbid", "category_id", "category", "city_name",
                 "latitude", "longitude", "public_email", "contact_phone_number", "account_type"):
        assert by_id[path] is not None, path


def test_posts_are_the_same_at_every_source(sim):
    profile_id = sim.keys("profile", 1, 7)[0]
    media = list(graph_posts(sim, "user_7"))
    nodes = list(arraybobo_posts(sim, profile_id))
    items = list(jotucker_posts(sim, profile_id))
    codes = [item["code"] for item in items]
    assert len(codes) == len(set(codes)) == sim.graph("user_7")["business_discovery"]["media_count"]
    assert codes == [node["shortcode"] for node in nodes]
    assert codes == [post["permalink"].split("/")[-2] for post in media]
    for post, node, item in zip(media, nodes, items):
        assert post["like_count"] == node["edge_media_preview_like"]["count"] == item["like_count"]
        assert post["comments_count"] == node["edge_media_to_comment"]["count"] == item["comment_count"]
        assert node["taken_at_timestamp"] == item["taken_at"]
        assert post["caption"] == item["caption"]["text"]
        assert post["caption"] == node["edge_media_to_caption"]["edges"][0]["node"]["text"]
        assert node["owner"] == {"id": profile_id, "username": "user_7"}
        assert (item["user"]["pk"], item["user"]["username"]) == (int(profile_id), "user_7")
        assert {"GraphImage": 1, "GraphVideo": 2, "GraphSidecar": 8}[node["__typename"]] == item["media_type"]
        if item["media_type"] == 2:
            assert item["video_versions"][0]["url"] and node["video_view_count"] == item["view_count"]
        if item["media_type"] == 8:
            assert item["carousel_media"][0]["image_versions2"]["candidates"][0]["url"]
    ages = [(NOW - item["taken_at"]) / DAY for item in items]
    assert ages == sorted(ages) and ages[0] < 5 and 40 < ages[-1] < 46
    assert {item["media_type"] for item in items} == {1, 2, 8}


def test_reels_are_the_videos_among_the_posts(sim):
    profile_id = sim.keys("profile", 1, 7)[0]
    videos = [item for item in jotucker_posts(sim, profile_id) if item["media_type"] == 2]
    assert len(videos) > 3
    assert videos == list(reels(lambda **cursor: sim.json("/arraybobo/ig/reels_posts/", id_user=profile_id,
                                                          **cursor)))
    assert videos == list(reels(lambda **cursor: rocketapi(sim, "user/get_clips", id=int(profile_id),
                                                           **cursor)["body"]))


def test_single_posts(sim):
    for code in sim.keys("post", 12):
        node = sim.json("/arraybobo/ig/post_info/", shortcode=code)
        item = sim.json("/jotucker/media_info_v2", short_code=code)["items"][0]
        rocket = rocketapi(sim, "media/get_info_by_shortcode", shortcode=code)
        assert rocket["status_code"] == 200 and rocket["body"]["items"] == [item]
        assert node["shortcode"] == item["code"] == code
        assert node["display_resources"][0]["src"] and node["location"]["name"]
        if node["__typename"] == "GraphVideo":
            assert node["video_url"] and node["video_play_count"] == item["play_count"]
            assert node["video_duration"] == item["video_duration"]


def test_unknown_and_empty_profiles(sim):
    error = sim.graph("nobody", expect=400)["error"]
    assert (error["code"], error["error_subcode"]) == (110, 2207013)
    status, _, body = sim.get("/graphapi/v12.0/1", access_token="bad1",
                              fields="business_discovery.username(user_7){id}")
    assert status == 400 and json.loads(body)["error"]["code"] == 190
    assert sim.json("/arraybobo/ig/info_username/", user="nobody")["status"] == "fail"
    assert sim.json("/jotucker/user_info_by_id", user_id="12")["status"] == "fail"
    assert sim.json("/arraybobo/ig/posts/", id_user="12")["data"]["user"] is None
    assert sim.json("/arraybobo/ig/post_info/", shortcode="A" * 11, expect=404)["status"] == "fail"
    assert sim.json("/jotucker/media_info_v2", short_code="A" * 11)["items"] == []
    assert rocketapi(sim, "media/get_info_by_shortcode", shortcode="A" * 11)["status_code"] == 404
    assert sim.json("/jotucker/user_info_by_id", user_name="user_7", expect=401,
                    headers={"X-RapidAPI-Key": "bad"})["message"]
    silent = sim.graph("user_49")["business_discovery"]
    assert silent["media_count"] == 0 and "media" not in silent
    assert list(jotucker_posts(sim, sim.keys("profile", 1, 49)[0])) == []
    sim.json("/jotucker/medias_v2", user_id=sim.keys("profile", 1)[0], max_id="rubbish", expect=400)


@pytest.mark.parametrize("base", ["/ytapitoken/youtube/v3", "/yt-v31"])
def test_youtube(sim, base):
    ids = sim.keys("channel", 3)
    listed = sim.json(base + "/channels", part="snippet", id=",".join([ids[0], "UCunknown", *ids[1:]]))
    assert [item["id"] for item in listed["items"]] == ids
    channel = listed["items"][0]
    for name in ("viewCount", "subscriberCount", "videoCount"):
        assert channel["statistics"][name].isdigit()
    uploads = channel["contentDetails"]["relatedPlaylists"]["uploads"]
    assert uploads == sim.keys("playlist", 1)[0]

    def lists(path, **query):
        def get(**page):
            return sim.json(base + path, maxResults=50, **query, **page)
        for page in pages(get(), lambda p: get(pageToken=p["nextPageToken"]) if "nextPageToken" in p else None):
            yield from page["items"]
    videos = [item["contentDetails"]["videoId"] for item in lists("/playlistItems", playlistId=uploads)]
    assert len(videos) == len(set(videos)) == int(channel["statistics"]["videoCount"])
    found = list(lists("/search", channelId=ids[0], part="id"))
    assert [item["id"]["videoId"] for item in found if "videoId" in item["id"]] == videos
    details = sim.json(base + "/videos", id=",".join(videos[:40] + ["unknown"]))["items"]
    assert [item["id"] for item in details] == videos[:40]
    for item in details:
        assert item["snippet"]["channelId"] == ids[0]
        assert re.fullmatch(r"PT(\d+H)?(\d+M)?(\d+S)?", item["contentDetails"]["duration"])
        assert all(item["statistics"][name].isdigit() for name in ("viewCount", "likeCount", "commentCount"))
    published = [item["snippet"]["publishedAt"] for item in details]
    assert published == sorted(published, reverse=True)
    middle = list(lists("/search", channelId=ids[0], type="video", publishedAfter=published[30],
                        publishedBefore=published[10]))
    assert [item["id"]["videoId"] for item in middle] == videos[10:31]
    assert sim.json(base + "/channels", id="UCunknown")["items"] == []
    assert sim.json(base + "/playlistItems", playlistId="UUnone", expect=404)["error"]["errors"][0]["reason"] \
        == "playlistNotFound"


def shop_orders(sim, store, **query):
    status, headers, body = sim.get(f"/shopify/{store}/admin/api/2023-04/orders.json", status="any", **query)
    while True:
        assert status == 200 and re.fullmatch(r"\d+/40", headers["X-Shopify-Shop-Api-Call-Limit"])
        yield from json.loads(body)["orders"]
        link = re.fullmatch(r'<([^>]+)>; rel="next"', headers.get("Link", ""))
        if not link:
            return
        assert link[1].startswith(sim.url)
        status, headers, body = sim.get(link[1])


def test_shopify(sim):
    orders = list(shop_orders(sim, "shop-3.example.com", limit=25))
    assert len(orders) == len({order["id"] for order in orders}) == 60
    assert orders == list(shop_orders(sim, "shop-3", limit=250))
    order = orders[0]
    assert order["line_items"][0]["vendor"] and "utm_source=instagram" in order["landing_site"]
    assert {len(o["fulfillments"]) for o in orders} == {0, 1}
    times = [o["created_at"] for o in orders]
    assert times == sorted(times, reverse=True)
    assert orders[5:20] == list(shop_orders(sim, "shop-3", limit=4, created_at_min=times[19],
                                            created_at_max=times[5]))
    assert list(shop_orders(sim, "empty-one", limit=10)) == []
    assert sim.json("/shopify/nowhere/admin/api/2023-04/orders.json", expect=404)["errors"] == "Not Found"


def test_same_seed_same_data(start):
    def read(one):
        return [one.get("/graphapi/v12.0/1", fields="business_discovery.username(user_5){followers_count,media{id}}"),
                one.get("/yt-v31/channels", id=",".join(one.keys("channel", 5))),
                one.get("/yt-v31/videos", id=",".join(one.keys("video", 5)))]
    first, second, other = start(), start(), start("--seed", "2")
    bodies = [[answer[2] for answer in read(one)] for one in (first, second, other)]
    assert bodies[0] == bodies[1] and bodies[0][0] != bodies[2][0]


def test_books(start):
    sim = start()
    profile_id = sim.keys("profile", 1, 7)[0]
    codes = {item["code"] for item in jotucker_posts(sim, profile_id)}
    sim.graph("user_7")
    sim.graph("nobody", expect=400)
    orders = {str(order["id"]) for order in shop_orders(sim, "shop-1", limit=50)}
    stats = sim.json("/_sim/stats")
    assert stats["since_start"] == stats["since_mark"]
    assert (stats["since_start"]["profiles"], stats["since_start"]["posts"]) == (1, len(codes))
    assert stats["since_start"]["orders"] == len(orders) == 60
    lines = sim.lines()
    assert len(lines) == stats["since_start"]["requests"] == sum(row["count"] for row in stats["requests"])
    served = {kind: {key for line in lines for key in line.get(kind, ())} for kind in ("profiles", "posts", "orders")}
    assert served == {"profiles": {profile_id}, "posts": codes, "orders": orders}
    assert [line["status"] for line in lines if line["key"] == "nobody"] == [400]
    marked = sim.json("/_sim/mark", name="here")
    assert marked["mark"] == "here" and marked["since_mark"]["posts"] == 0
    sim.json("/yt-v31/channels", id=",".join(sim.keys("channel", 4)))
    stats = sim.json("/_sim/stats")
    assert (stats["since_mark"]["channels"], stats["since_mark"]["posts"]) == (4, 0)
    assert stats["since_start"]["posts"] == len(codes)


@pytest.mark.parametrize("spec,status,header", [
    ("status=429,retry_after=1", 429, "1"), ("status=429", 429, None), ("401", 401, None), ("status=503", 503, None)])
def test_status_faults(start, spec, status, header):
    sim = start("--fault", spec + ",source=rapidapi-jotucker,first=1")
    for handle in ("user_1", "user_2"):
        got, headers, _ = sim.get("/jotucker/user_info_by_id", user_name=handle)
        assert (got, headers.get("Retry-After")) == (status, header)
        assert sim.json("/jotucker/user_info_by_id", user_name=handle)["user"]["username"] == handle
        assert sim.json("/arraybobo/ig/info_username/", user=handle)["user"]["username"] == handle


def test_quota_fault(start):
    sim = start("--fault", "source=ytapitoken,op=search,status=403")
    channel = sim.keys("channel", 1)[0]
    answer = sim.json("/ytapitoken/youtube/v3/search", channelId=channel, expect=403)
    assert answer["error"]["errors"][0]["reason"] == "quotaExceeded"
    sim.json("/ytapitoken/youtube/v3/channels", id=channel)
    sim.json("/yt-v31/search", channelId=channel)


def test_spoiled_answers_do_not_count(start):
    sim = start("--fault", "key=^user_1$,cut", "--fault", "key=^user_2$,badjson", "--fault", "key=^user_3$,schema",
                "--fault", "key=^user_4$,empty", "--fault", "key=^user_5$,slow=300")
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        sim.get("/jotucker/user_info_by_id", user_name="user_1")
    with pytest.raises(ValueError):
        sim.json("/jotucker/user_info_by_id", user_name="user_2")
    assert "user" not in sim.json("/jotucker/user_info_by_id", user_name="user_3")
    assert sim.get("/jotucker/user_info_by_id", user_name="user_4")[2] == b""
    begin = time.monotonic()
    sim.json("/jotucker/user_info_by_id", user_name="user_5")
    assert time.monotonic() - begin >= 0.3
    assert sim.json("/_sim/stats")["since_start"]["profiles"] == 1
    assert [line.get("fault") for line in sim.lines()] == ["cut", "badjson", "schema", "empty", "slow"]


def test_fault_rate_repeats(start):
    def statuses():
        sim = start("--fault", "rate=0.3,5xx")
        return [sim.get("/jotucker/user_info_by_id", user_name=f"user_{n}")[0] for n in range(300)]
    first = statuses()
    assert 50 < sum(status >= 500 for status in first) < 130
    assert first == statuses()


def test_latency_holds_no_thread(start):
    sim = start("--latency", "400")
    host = sim.url.split("//")[1]
    begin = time.monotonic()
    connections = [http.client.HTTPConnection(host, timeout=30) for _ in range(50)]
    for connection in connections:
        connection.request("GET", "/jotucker/user_info_by_id?user_name=user_1")
    for connection in connections:
        assert connection.getresponse().status == 200
        connection.close()
    # one after the other they would take 20 s
    assert 0.4 <= time.monotonic() - begin < 10


def test_replay(start, tmp_path):
    folder = tmp_path / "recorded"
    (folder / "v1").mkdir(parents=True)
    (folder / "v1/thing.json").write_text('{"n":"any"}')
    (folder / "v1/thing.2.json").write_text('{"n":2}')
    (folder / "v1/thing.3.json").write_text('{"n":3}')
    (folder / "v1/thing.3.http").write_text("HTTP/1.1 429 Too Many Requests\nRetry-After: 7\n")
    sim = start("--replay", folder)
    assert [sim.json("/v1/thing")["n"], sim.json("/v1/thing/", a="1")["n"]] == ["any", 2]
    status, headers, body = sim.get("/v1/thing")
    assert (status, headers["Retry-After"], body) == (429, "7", b'{"n":3}')
    assert sim.json("/v1/thing") == {"n": "any"}
    (folder / "v1/other.json").write_text('{"n":0}')
    assert sim.json("/v1/other") == {"n": 0}
    sim.json("/v1/none", expect=404)
    sim.json("/../secret", expect=404)


def test_options(tmp_path):
    def run(*options):
        return subprocess.run([SIM, *options], capture_output=True, text=True, timeout=30, check=False)
    assert "--fault SPEC" in run("--help").stdout
    assert run("--version").stdout.startswith("sluice-sim ")
    for options in (["--port", "x"], ["--fault", "sl0w"], ["--fault", "rate=2,401"], ["--fault", "rate=0.5"],
                    ["--fault", "key=(,401"], ["--nothing"], ["surplus"]):
        bad = run(*options)
        assert bad.returncode == 2 and bad.stderr, options
    assert run("--replay", tmp_path / "none").returncode == 1
