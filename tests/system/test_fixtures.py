# SPDX-License-Identifier: Apache-2.0
"""Recorded responses, replayed through `sluicectl flow try`: the records hold the responses' own values.

The recordings are not part of the project: they are looked for in $SLUICE_SHARED/fixtures, else in ../shared/fixtures
beside the source tree, and without them every test here is skipped.
"""
import datetime
import json
import os
import re
import subprocess

import pytest

import harness

SHARED = os.environ.get("SLUICE_SHARED", os.path.join(harness.SOURCE, "..", "shared"))
FIXTURES = os.path.join(SHARED, "fixtures")
pytestmark = pytest.mark.skipif(not os.path.isdir(FIXTURES), reason="no recorded responses here")

NO_POSTS = {"items": [], "more_available": False}


def load(name):
    with open(os.path.join(FIXTURES, name + ".json"), encoding="utf-8") as file:
        return json.load(file)


def flow_try(folder, flow, params, answers, *options):
    """Runs a flow on answers {"plugin.operation" or "plugin.operation-n": body, or (status, headers, body)}."""
    for name, answer in answers.items():
        status, headers, body = answer if isinstance(answer, tuple) else (200, [], answer)
        with open(os.path.join(folder, name + ".json"), "w", encoding="utf-8") as file:
            file.write(json.dumps(body))
        with open(os.path.join(folder, name + ".http"), "w", encoding="utf-8") as file:
            file.write("\n".join([f"HTTP/1.1 {status}", *headers]) + "\n")
    done = subprocess.run(
        [harness.SLUICECTL, "flow", "try", flow, *[f"{key}={value}" for key, value in params.items()],
         "--replay", str(folder), "--json", *options],
        env={**os.environ, "SLUICE_PLUGIN_PATH": os.path.join(harness.BUILD, "plugins.d")},
        capture_output=True, text=True, timeout=harness.DEADLINE, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines, done.stderr
    return lines


def records(lines, kind):
    """Records of a type by key; each came once and made one event."""
    found = [line for line in lines if line["kind"] == "record" and line["type"] == kind]
    keys = [line["key"] for line in found]
    assert len(keys) == len(set(keys))
    return {line["key"]: line for line in found}


def of_kind(lines, kind):
    return [line for line in lines if line["kind"] == kind]


def at(value, path):
    """What is at a dotted path; None where it ends early."""
    for step in path.split("."):
        if isinstance(value, list):
            value = value[int(step)] if int(step) < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def first(value, *paths):
    return next((at(value, path) for path in paths if at(value, path) is not None), None)


def text(value):
    return None if value is None else str(value)


def number(value):
    return None if value is None else int(value)


def epoch(value):
    return None if value is None else int(datetime.datetime.fromisoformat(
        re.sub(r"\+0000$", "+00:00", value.replace("Z", "+00:00"))).timestamp())


def compare(record, **groups):
    for group, wanted in groups.items():
        for key, value in wanted.items():
            got = record[group].get(key, "not there")
            same = got == pytest.approx(value) if isinstance(value, float) else got == value
            assert same, f"{record['type']} {record['key']} {group}.{key}: {got!r}, not {value!r}"


# --- Instagram: what a response of each dialect says, read independently of the plugin ---

def check_mobile_profile(record, user):
    compare(record, metrics={"followers": user["follower_count"], "following": user["following_count"],
                             "media_count": user["media_count"]},
            dimensions={"profile_id": text(user["pk"]), "handle": user["username"], "full_name": user["full_name"],
                        "bio": user["biography"], "is_verified": user["is_verified"],
                        "is_private": user["is_private"], "external_url": user["external_url"],
                        "profile_type": {1: "personal", 2: "business", 3: "creator"}[user["account_type"]],
                        "profile_pic_url": first(user, "hd_profile_pic_url_info.url", "profile_pic_url")})


def check_web_profile(record, user):
    compare(record, metrics={"followers": user["edge_followed_by"]["count"], "following": user["edge_follow"]["count"],
                             "media_count": user["edge_owner_to_timeline_media"]["count"]},
            dimensions={"profile_id": user["id"], "full_name": user["full_name"], "bio": user["biography"],
                        "is_verified": user.get("is_verified"), "fbid": user.get("fbid"),
                        "profile_pic_url": user["profile_pic_url_hd"], "category": user.get("category_name")})


def check_mobile_post(record, item):
    compare(record, metrics={"likes": item["like_count"], "comments": item["comment_count"],
                             "play_count": item.get("play_count"), "reshare_count": item.get("reshare_count"),
                             "video_duration": item.get("video_duration")},
            dimensions={"profile_id": text(item["user"]["pk"]), "handle": item["user"]["username"],
                        "post_id": text(item["pk"]), "short_code": item["code"],
                        "post_type": {1: "image", 2: "reels", 8: "carousel"}[item["media_type"]],
                        "taken_at_timestamp": item["taken_at"], "caption": at(item, "caption.text"),
                        "product_type": item["product_type"],
                        "thumbnail_src": first(item, "image_versions2.candidates.0.url",
                                               "carousel_media.0.image_versions2.candidates.0.url"),
                        "display_url": first(item, "video_versions.0.url", "image_versions2.candidates.0.url",
                                             "carousel_media.0.image_versions2.candidates.0.url")})


def check_web_post(record, node):
    compare(record, metrics={"likes": node["edge_media_preview_like"]["count"],
                             "comments": node["edge_media_to_comment"]["count"],
                             "view_count": node.get("video_view_count")},
            dimensions={"post_id": node["id"], "display_url": node["display_url"],
                        "thumbnail_src": first(node, "thumbnail_src", "thumbnail_url"),
                        "taken_at_timestamp": node.get("taken_at_timestamp"),
                        "post_type": {"GraphImage": "image", "GraphVideo": "reels",
                                      "GraphSidecar": "carousel"}[node["__typename"]],
                        "caption": at(node, "edge_media_to_caption.edges.0.node.text"),
                        "location": at(node, "location.name")})


def check_graph_post(record, media):
    code = media["permalink"].rstrip("/").split("/")[-1]
    assert record["key"] == code
    compare(record, metrics={"likes": media["like_count"], "comments": media["comments_count"]},
            dimensions={"post_id": media["id"], "caption": media.get("caption"), "display_url": media.get("media_url"),
                        "thumbnail_src": media.get("media_url") if media["media_type"] != "VIDEO" else None,
                        "taken_at_timestamp": epoch(media["timestamp"]),
                        "post_type": {"IMAGE": "image", "VIDEO": "reels",
                                      "CAROUSEL_ALBUM": "carousel"}[media["media_type"]]})


PROFILES = [("user_info-1", "user", check_mobile_profile), ("user_info-2", None, check_mobile_profile),
            ("web_profile_info-2", None, check_mobile_profile), ("web_profile-1", "graphql.user", check_web_profile),
            ("web_profile_info-1", "data.user", check_web_profile)]


@pytest.mark.parametrize("name,path,check", PROFILES)
@pytest.mark.parametrize("by", ["handle", "profile_id"])
def test_profile(tmp_path, name, path, check, by):
    body = load("instagram-private/" + name)
    user = at(body, path) if path else body
    handle, key = user.get("username", "natgeo"), text(first(user, "pk", "id"))
    lines = flow_try(tmp_path, "refresh_profile_basic",
                     {"handle": handle if by == "handle" else "null",
                      "profile_id": key if by == "profile_id" else "null"},
                     {"instagram.profile_by_handle": body, "instagram.profile_by_id": body})
    profiles, posts = records(lines, "profile"), records(lines, "post")
    check(profiles[key], user)
    edges = at(user, "edge_owner_to_timeline_media.edges") or []
    assert set(posts) == {edge["node"]["shortcode"] for edge in edges}
    for edge in edges:
        check_web_post(posts[edge["node"]["shortcode"]], edge["node"])
        compare(posts[edge["node"]["shortcode"]], dimensions={"profile_id": key})
    assert len(of_kind(lines, "event")) == len(of_kind(lines, "upsert")) == 1 + len(edges)


@pytest.mark.parametrize("name", ["user_feed-1", "user_feed-2"])
def test_posts_and_reels(tmp_path, name):
    feed, reels = load("instagram-private/" + name), load("instagram-private/reels-1")
    lines = flow_try(tmp_path, "refresh_profile_by_profile_id", {"profile_id": "787132"},
                     {"instagram.profile_by_id": load("instagram-private/user_info-1"),
                      "instagram.posts_by_id-1": feed, "instagram.posts_by_id": NO_POSTS,
                      "instagram.reels-1": reels, "instagram.reels": NO_POSTS})
    posts = records(lines, "post")
    wanted = {}
    for edge in at(feed, "data.user.edge_owner_to_timeline_media.edges") or []:
        wanted[edge["node"]["shortcode"]] = (check_web_post, edge["node"])
    for item in at(feed, "response.items") or []:
        wanted[item["code"]] = (check_mobile_post, item)
    for item in reels["response"]["items"]:
        wanted[item["media"]["code"]] = (check_mobile_post, item["media"])
    assert set(posts) == set(wanted)
    for code, (check, post) in wanted.items():
        check(posts[code], post)
        owner = text(first(post, "user.pk", "owner.id"))
        assert posts[code]["dimensions"].get("collab_profile_id") == (None if owner == "787132" else "787132")
    assert len(of_kind(lines, "event")) == 1 + len(wanted)
    shown = {line["data"]["shortcode"]: line["data"]["publish_time"]
             for line in of_kind(lines, "event") if "shortcode" in line["data"]}
    for code, (_, post) in wanted.items():
        taken = datetime.datetime.fromtimestamp(first(post, "taken_at", "taken_at_timestamp"), datetime.timezone.utc)
        assert shown[code] == taken.strftime("%Y-%m-%d %H:%M:%S")


POSTS = [("media_info-1", "media_or_ad"), ("media_info-2", "items.0"), ("media_info-3", "items.0")]


@pytest.mark.parametrize("name,path,source", [
    (name, path, source) for name, path in POSTS
    for source in ("rapidapi-arraybobo", "rapidapi-jotucker", "rocketapi")
    if (source, path) != ("rocketapi", "media_or_ad")])  # RocketAPI answers with items
def test_post(tmp_path, name, path, source):
    body = load("instagram-private/" + name)
    item = at(body, path)
    lines = flow_try(tmp_path, "refresh_post_by_shortcode", {"shortcode": item["code"]},
                     {"instagram.post_by_shortcode": body}, "--source", source)
    record = records(lines, "post")[item["code"]]
    check_mobile_post(record, item)
    assert record["source"] == source


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_business_discovery(tmp_path, n):
    """The recordings did not ask for ig_id and username, without which an answer counts as none: they are added."""
    body = load(f"instagram-graph/business_discovery-{n}")
    user = body["business_discovery"]
    user.update({"ig_id": 4711, "username": user.get("username", "somebody")})
    lines = flow_try(tmp_path, "refresh_profile_by_handle", {"handle": user["username"]},
                     {"instagram.profile_by_handle": body, "instagram.posts_by_id": NO_POSTS,
                      "instagram.reels": NO_POSTS})
    record, posts = records(lines, "profile")["4711"], records(lines, "post")
    assert record["source"] == "graphapi"
    compare(record, metrics={"followers": user.get("followers_count"), "media_count": user.get("media_count")},
            dimensions={"fbid": user["id"], "bio": user.get("biography"), "full_name": user.get("name"),
                        "profile_pic_url": user.get("profile_picture_url"), "is_business_or_creator": True})
    media = at(user, "media.data") or []
    by_id = {post["dimensions"]["post_id"]: post for post in posts.values()}
    assert set(by_id) == {one["id"] for one in media if one.get("permalink")}
    for one in media:
        if one.get("permalink"):
            check_graph_post(by_id[one["id"]], one)
            compare(by_id[one["id"]], dimensions={"profile_id": "4711", "handle": user["username"]})


@pytest.mark.parametrize("name", ["error-1", "error-2", "error-3", "error-4"])
def test_graph_errors_go_to_the_next_source(tmp_path, name):
    lines = flow_try(tmp_path, "refresh_profile_by_handle", {"handle": "natgeo"},
                     {"instagram.profile_by_handle-1": (400, [], load("instagram-graph/" + name)),
                      "instagram.profile_by_handle": load("instagram-private/user_info-1"),
                      "instagram.posts_by_id": NO_POSTS, "instagram.reels": NO_POSTS})
    assert records(lines, "profile")["787132"]["source"].startswith("rapidapi-")


@pytest.mark.parametrize("name,status", [("error-1", 400), ("error-2", 401)])
def test_reseller_errors_go_to_the_next_source(tmp_path, name, status):
    body = load("instagram-private/media_info-2")
    lines = flow_try(tmp_path, "refresh_post_by_shortcode", {"shortcode": body["items"][0]["code"]},
                     {"instagram.post_by_shortcode-1": (status, [], load("instagram-private/" + name)),
                      "instagram.post_by_shortcode": body})
    check_mobile_post(records(lines, "post")[body["items"][0]["code"]], body["items"][0])


# --- YouTube ---

def check_channel(record, item):
    snippet, statistics = item["snippet"], item["statistics"]
    assert record["source"] == "ytapi"
    compare(record, metrics={"video_count": number(statistics.get("videoCount")),
                             "view_count": number(statistics.get("viewCount")),
                             "subscriber_count": number(statistics.get("subscriberCount")),
                             "hidden_subscriber_count": number(statistics.get("hiddenSubscriberCount"))},
            dimensions={"title": snippet["title"], "description": snippet["description"],
                        "custom_url": snippet.get("customUrl"), "country": snippet.get("country"),
                        "taken_at_timestamp": epoch(snippet["publishedAt"]),
                        "thumbnail": at(snippet, "thumbnails.default.url"),
                        "uploads_playlist_id": at(item, "contentDetails.relatedPlaylists.uploads")})
    assert json.loads(record["dimensions"]["thumbnails"]) == snippet["thumbnails"]


def seconds(duration):
    parts = re.fullmatch(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", duration or "")
    return sum(int(n or 0) * unit for n, unit in zip(parts.groups(), (86400, 3600, 60, 1))) if parts else 0


def check_video(record, item):
    snippet = item["snippet"]
    compare(record, metrics={"view_count": number(at(item, "statistics.viewCount")),
                             "likes": number(at(item, "statistics.likeCount")),
                             "comments": number(at(item, "statistics.commentCount")),
                             "favourite_count": number(at(item, "statistics.favoriteCount"))},
            dimensions={"title": snippet["title"], "description": snippet["description"],
                        "channel_title": snippet["channelTitle"], "category_id": snippet["categoryId"],
                        "taken_at_timestamp": epoch(snippet["publishedAt"]),
                        "audio_language": snippet.get("defaultAudioLanguage"),
                        "duration": at(item, "contentDetails.duration"),
                        "definition": at(item, "contentDetails.definition"),
                        "is_licensed": at(item, "contentDetails.licensedContent")})
    long = seconds(at(item, "contentDetails.duration")) > 60
    assert record["dimensions"].get("post_type") == ("video" if long else None)
    for key, value in (("tags", snippet.get("tags")), ("content_rating", at(item, "contentDetails.contentRating"))):
        got = record["dimensions"][key]
        assert (got if got is None else json.loads(got)) == value


@pytest.mark.parametrize("name", ["channels-1", "channels-2"])
def test_channels(tmp_path, name):
    body = load("youtube/" + name)
    ids = [item["id"] for item in body["items"]]
    lines = flow_try(tmp_path, "refresh_yt_profiles", {"channel_ids": ",".join(ids)}, {"youtube.channels": body})
    profiles = records(lines, "profile")
    assert set(profiles) == set(ids)
    for item in body["items"]:
        check_channel(profiles[item["id"]], item)
    assert {(line["data"]["profile_id"], line["data"]["handle"]) for line in of_kind(lines, "event")} == \
        {(key, key) for key in ids}


@pytest.mark.parametrize("name", ["videos-1", "videos-2"])
def test_videos(tmp_path, name):
    body = load("youtube/" + name)
    ids = [item["id"] for item in body["items"]]
    lines = flow_try(tmp_path, "refresh_yt_posts", {"post_ids": ",".join(ids)}, {"youtube.videos": body})
    posts = records(lines, "post")
    assert set(posts) == set(ids)
    for item in body["items"]:
        check_video(posts[item["id"]], item)
    assert {line["data"]["shortcode"]: line["data"]["profile_id"] for line in of_kind(lines, "event")} == \
        {item["id"]: item["snippet"]["channelId"] for item in body["items"]}


def asked_for(lines, operation):
    """The ids that the calls of an operation asked for, in order."""
    calls = [line for line in of_kind(lines, "call") if line["operation"] == operation]
    return [one for line in calls for one in line["key"].split(",")]


def test_playlist_items(tmp_path):
    pages = [load("youtube/playlistItems-1"), load("youtube/playlistItems-2")]
    ids = [first(item, "contentDetails.videoId", "snippet.resourceId.videoId") for page in pages
           for item in page["items"]]
    lines = flow_try(tmp_path, "refresh_yt_posts_by_playlist_id", {"channel_id": "UC_x5XG1OV2P6uZZ5FSM9Ttw"},
                     {"youtube.uploads_playlist": [{"channel_id": "UC_x5XG1OV2P6uZZ5FSM9Ttw",
                                                    "uploads_playlist_id": "UU_x5XG1OV2P6uZZ5FSM9Ttw"}],
                      "youtube.playlist_items-1": pages[0], "youtube.playlist_items-2": pages[1],
                      "youtube.videos": load("youtube/videos-2")})
    assert asked_for(lines, "youtube.videos") == list(dict.fromkeys(ids))
    assert set(records(lines, "post")) == {item["id"] for item in load("youtube/videos-2")["items"]}


@pytest.mark.parametrize("name", ["search-1", "search-2", "search-3"])
def test_search(tmp_path, name):
    body = load("youtube/" + name)
    ids = [item["id"]["videoId"] for item in body["items"] if "videoId" in item["id"]]
    lines = flow_try(tmp_path, "refresh_yt_posts_by_channel_id", {"channel_id": "UC1"},
                     {"youtube.search_by_channel-1": body, "youtube.search_by_channel": {"kind": "x", "items": []},
                      "youtube.videos": load("youtube/videos-2")})
    assert asked_for(lines, "youtube.videos") == list(dict.fromkeys(ids))


@pytest.mark.parametrize("name,status,want", [("error-1", 403, "Quota exceeded"),
                                              ("error-2", 403, "The caller does not have permission"),
                                              ("error-3", 400, "Bad Request")])
def test_youtube_errors(tmp_path, name, status, want):
    lines = flow_try(tmp_path, "refresh_yt_posts", {"post_ids": "v1"},
                     {"youtube.videos": (status, [], load("youtube/" + name))})
    assert not records(lines, "post")
    assert f"({status}, " in of_kind(lines, "error")[-1]["text"]
    assert want in of_kind(lines, "error")[-1]["text"]


# --- Shopify ---

def check_order(record, order, store):
    compare(record, dimensions={"platform_order_id": text(order["id"]), "name": order["name"],
                                "status": at(order, "fulfillments.0.status"), "store": store,
                                "landing_site": order["landing_site"],
                                "store_name": at(order, "line_items.0.vendor"), "order_data": order,
                                "platform": "SHOPIFY"})


@pytest.mark.parametrize("name", ["orders-1", "orders-2"])
def test_orders(tmp_path, name):
    """The first page's recorded Link header leads to the second page."""
    body, last = load("shopify/" + name), load("shopify/orders-1")
    store = "transformingtoys.myshopify.com"
    lines = flow_try(tmp_path, "refresh_orders_by_store", {"store": store},
                     {"shopify.orders-1": (200, ["Link: " + load("shopify/orders_headers-1")["Link"]], body),
                      "shopify.orders-2": {"orders": [{**order, "id": order["id"] + 1} for order in last["orders"]]},
                      "shopify.orders": (404, [], load("shopify/error_rest-1"))})
    orders = records(lines, "order")
    assert len(orders) == len(body["orders"]) + len(last["orders"])
    for order in body["orders"]:
        check_order(orders[text(order["id"])], order, store)
    assert of_kind(lines, "result")[-1]["data"] == {"orders": len(orders)}


@pytest.mark.parametrize("name,status", [("error_rest-1", 404), ("error_rest-2", 429)])
def test_shopify_errors(tmp_path, name, status):
    lines = flow_try(tmp_path, "refresh_orders_by_store", {"store": "a.myshopify.com"},
                     {"shopify.orders": (status, [], load("shopify/" + name))})
    assert f"({status}, " in of_kind(lines, "error")[-1]["text"]
    assert load("shopify/" + name)["errors"] in of_kind(lines, "error")[-1]["text"]
