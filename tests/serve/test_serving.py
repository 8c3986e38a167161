"""What a running worker serves: probes, metrics, the page, and none of it at the loop's expense."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import records
from served import VITALS, Pulse, asked, connected, get, numbered, serving, wait_for

from streameval.errors import ConnectionFailedError, ServeError
from streameval.serve import serving as room
from streameval.serve.allowance import BURST, SHARE

LIFE = numbered(records.life(weeks=130))


@pytest.fixture
def served():
    with serving() as served:
        served.beat(VITALS)
        served.feed(LIFE)
        wait_for(lambda: asked(served, "/snapshot.json")["models"])
        yield served


def test_liveness_says_what_is_done_and_turns_when_the_loop_stands_still():
    pulse = Pulse()
    with serving(pulse, stalled_after=60) as served:
        assert get(served, "/healthz")[:2] == (200, b'{"status":"ok","reason":"reading"}')
        pulse.turned, pulse.doing = time.monotonic() - 61, "committing"
        status, body, _ = get(served, "/healthz")
        assert status == 503
        assert "stood still for 1 min 1 s, while committing" in json.loads(body)["reason"]


def test_liveness_turns_where_partitions_do_not_move_and_names_them():
    pulse = Pulse()
    with serving(pulse) as served:
        pulse.stalled = {"predictions/3": "12 events to read, none came for 2 min; a transaction"}
        status, body, _ = get(served, "/healthz")
        reason = "predictions/3 does not move: 12 events to read, none came for 2 min; a transaction"
        assert (status, json.loads(body)["reason"]) == (503, reason)
        pulse.stalled |= {"outcomes/0": "1 event to read, none came for 3 min", "outcomes/1": "..."}
        reason = "outcomes/0 does not move, nor do 2 other partitions: 1 event to read, none came for 3 min"
        assert json.loads(get(served, "/healthz")[1])["reason"] == reason
        pulse.stalled = {}
        assert get(served, "/healthz")[0] == 200


def test_a_worker_that_starts_is_alive_and_not_ready():
    pulse = Pulse()
    pulse.turned, pulse.ready, pulse.doing = None, False, "restoring the state"
    with serving(pulse) as served:
        assert get(served, "/healthz")[0] == 200
        status, body, _ = get(served, "/readyz")
        assert (status, json.loads(body)["reason"]) == (503, "starting: restoring the state")


def test_a_worker_is_ready_once_it_has_caught_up():
    pulse = Pulse()
    pulse.ready = False
    with serving(pulse) as served:
        served.beat(VITALS)
        status, body, _ = get(served, "/readyz")
        assert (status, json.loads(body)["reason"]) == (503, "catching up: 12 events to read")
        pulse.ready = True
        assert get(served, "/readyz")[0] == 200


def test_the_snapshot_says_how_each_model_stands(served):
    told = asked(served, "/snapshot.json")
    assert (told["worker"], told["configuration"], told["lag"]) == ("payments", "c0ffee", 12)
    wait_for(lambda: asked(served, "/snapshot.json")["models"][0]["state"] == "healthy")
    (model,) = asked(served, "/snapshot.json")["models"]
    assert model["sentence"].startswith("price-up is healthy")
    assert set(model["metrics"]["cost"]) == {"value", "low", "high"}


def test_the_page_carries_its_text_and_its_script_asks_this_host_alone(served):
    status, body, headers = get(served, "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "price-up" in body.decode()
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe-inline" not in headers["content-security-policy"].partition("script-src")[2].partition(";")[0]
    for path in ("/page.js", "/page.css", "/plotly.js"):
        assert get(served, path)[0] == 200
    assert len(get(served, "/plotly.js", headers={"accept-encoding": "gzip"})[1]) < 2_000_000


def test_pictures_come_for_the_series_that_are_looked_at(served):
    first = asked(served, "/page.json")
    (name,) = first["figures"]
    again = asked(served, f"/page.json?series={name}")
    assert again["figures"] == first["figures"]
    assert asked(served, "/page.json?series=nobody")["figures"] == {}
    assert asked(served, "/page.json?series=")["figures"] != {}


def test_what_is_not_there_is_not_found(served):
    assert get(served, "/etc/passwd")[0] == 404


def test_answers_are_made_once_for_all_who_ask(served, monkeypatch):
    made = []
    monkeypatch.setattr(served._exposition, "text", lambda: (made.append(1), (b"x 1\n", "text/plain"))[1])
    served.beat(VITALS.__copy__())
    for _ in range(20):
        get(served, "/metrics")
    assert len(made) == 1


def test_a_port_that_is_taken_is_told_with_the_cure():
    with serving() as served:
        other = room.Serving("127.0.0.1", served.port, served.about, Pulse())
        with pytest.raises(ServeError, match="cannot listen") as told:
            other.__enter__()
        assert "another process listens there" in told.value.cure
        assert told.value.exit_code == 9


def test_an_address_that_is_not_ours_is_told():
    with pytest.raises(ServeError, match="cannot listen"):
        room.Serving("192.0.2.1", 0, None, Pulse()).__enter__()


def test_what_was_published_before_is_there_after_a_restart_each_record_once():
    past, live = LIFE[:-20], LIFE[-40:]
    with serving(past=lambda: iter(past)) as served:
        served.beat(VITALS)
        served.feed(live)
        weeks = sum(record.topic == "metrics" for record in LIFE)
        wait_for(lambda: served._picture.snapshot.records.get("metrics") == weeks)
        assert served._picture.snapshot.records["drift"] == sum(record.topic == "drift" for record in LIFE)


def test_a_past_that_cannot_be_read_is_missing_and_that_is_all():
    def past():
        yield from LIFE[:100]
        raise ConnectionFailedError("the cluster is away")

    with serving(past=past) as served:
        served.feed(LIFE[100:])
        wait_for(lambda: served._picture.changes == len(LIFE))
        assert get(served, "/healthz")[0] == 200


def test_what_waits_to_be_folded_is_bounded(monkeypatch):
    monkeypatch.setattr(room, "HELD", 100_000)
    monkeypatch.setattr(room, "FOLD_EVERY", 0.02)

    def endless():
        time.sleep(1.0)
        yield from ()

    with serving(past=endless) as served:
        served.feed(LIFE)
        size = sum(len(record.value) for record in LIFE)
        assert size > 200_000
        wait_for(lambda: served.left_out)
        wait_for(lambda: served._settled)
        wait_for(lambda: served._picture.changes + served.left_out == len(LIFE))


def test_feeding_and_beating_never_wait_even_when_nobody_answers_any_more():
    with serving() as served:
        pass
    began = time.perf_counter()
    for _ in range(1000):
        served.feed(LIFE[:1])
        served.beat(VITALS)
    assert time.perf_counter() - began < 0.5


def test_probes_are_answered_while_clients_are_stuck(served):
    with contextlib.ExitStack() as stack:
        for number in range(300):
            client = stack.enter_context(connected(served))
            with contextlib.suppress(OSError):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.sendall([b"", b"GET / HT", b"GET /plotly.js HTTP/1.1\r\nhost: x\r\n\r\n"][number % 3])
        for _ in range(5):
            assert get(served, "/healthz")[0] == 200
        assert get(served, "/metrics")[0] == 200


def test_a_hundred_hasty_scrapers_get_no_more_processor_time_than_the_allowance():
    with serving() as served:
        served.beat(VITALS)
        served.feed(LIFE)
        wait_for(lambda: served._picture.changes == len(LIFE))
        began, before = time.monotonic(), processor_time()
        command = [sys.executable, Path(__file__).with_name("scrapers.py"), str(served.port), "100", "0", "30"]
        scrapers = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        scrapers.stdout.readline()
        time.sleep(2.5)
        used, took = processor_time() - before, time.monotonic() - began
        scrapers.terminate()
        said = json.loads(scrapers.communicate(timeout=20)[0])
    assert said["scrapes"]["count"] > 20
    assert said["probes"]["count"] > 5
    # Beside the allowance: probes, which never wait, and what a hundred new connections cost.
    assert used < BURST + SHARE * took + 0.35


def processor_time():
    """Of all threads of this process but the one that runs the test, seconds."""
    threads = psutil.Process().threads()
    return sum(thread.user_time + thread.system_time for thread in threads if thread.id != threading.get_native_id())


def test_leaving_takes_no_time(served):
    stuck = [connected(served) for _ in range(5)]
    began = time.perf_counter()
    served.__exit__(None, None, None)
    assert time.perf_counter() - began < 2.0
    for client in stuck:
        client.close()
    with pytest.raises(OSError):
        connected(served)
