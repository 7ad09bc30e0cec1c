"""Who is let in, and what a page can get wrong."""

import asyncio
import gzip
import http.client
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as open_socket

from nelbo.studio.server import listen
from nelbo.studio.session import Reply, Session, answers
from nelbo.studio.wire import FrameError, pack, unpack


def get(studio, path="/", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", studio.port)
    try:
        connection.putrequest("GET", path, skip_host=True)
        for name, value in {"Host": f"127.0.0.1:{studio.port}", **headers}.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), dict(answer.getheaders())
    finally:
        connection.close()


def cookie(studio):
    return f"nelbo-{studio.port}={studio.token}"


@pytest.mark.parametrize("path", ["/", "/core/studio.js", "/export/kl"])
def test_without_the_token_nothing_is_served(studio, path):
    status, text, _ = get(studio, path)
    assert status == 403
    assert "open the address that `nelbo studio` printed" in text
    assert get(studio, path, Cookie=f"nelbo-{studio.port}=wrong")[0] == 403
    assert get(studio, path + "?token=wrong")[0] == 403


def test_the_token_becomes_a_cookie_and_leaves_the_address(studio):
    status, _, headers = get(studio, f"/?token={studio.token}&x=1")
    assert status == 303
    assert headers["location"] == "/?x=1"
    assert "HttpOnly" in headers["set-cookie"]
    assert "samesite=strict" in headers["set-cookie"].lower()
    status, _, headers = get(studio, Cookie=cookie(studio))
    assert status == 200
    assert "default-src 'self'" in headers["content-security-policy"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:80", ""])
def test_a_foreign_host_is_refused(studio, host):
    assert get(studio, Host=host, Cookie=cookie(studio))[0] == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1"])
def test_a_foreign_origin_is_refused(studio, origin):
    status, text, _ = get(studio, Origin=origin, Cookie=cookie(studio))
    assert status == 403
    assert "Origin" in text


def test_no_path_leads_out(studio):
    for path in ("/../app.py", "/%2e%2e/app.py", "/core/../../app.py", "//etc/passwd"):
        assert get(studio, path, Cookie=cookie(studio))[0] in (404, 400)


def connect(studio, **headers):
    origin = headers.pop("Origin", None)
    return open_socket(f"ws://127.0.0.1:{studio.port}/ws", additional_headers=headers, origin=origin, proxy=None)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example", "Cookie": "own"},
        {"Cookie": "own"},
        {"Origin": "own"},
        {"Origin": "own", "Cookie": "nelbo=wrong"},
    ],
)
def test_a_foreign_websocket_is_refused(studio, headers):
    own = {"Cookie": cookie(studio), "Origin": studio.origin}
    given = {name: own[name] if value == "own" else value for name, value in headers.items()}
    with pytest.raises(InvalidStatus) as refused:
        connect(studio, **given)
    assert refused.value.response.status_code == 403


def test_an_open_page_gets_answers_and_errors_in_words(studio):
    p = {"family": "normal", "mu": 0, "sigma": 1}
    q = {"family": "normal", "mu": 1, "sigma": 2}
    with connect(studio, Origin=studio.origin, Cookie=cookie(studio)) as page:

        def said(frame):
            page.send(frame)
            return unpack(page.recv(timeout=600))[0]

        good = said(pack({"kind": "explore.kl", "id": 1, "p": p, "q": q}))
        assert good["pq"] == [pytest.approx(0.4431471805599453, rel=1e-14), 0.0, "closed_form"]
        assert "scale" in said(pack({"kind": "explore.kl", "id": 2, "p": {**p, "sigma": -1}, "q": q}))["error"]
        unknown = said(pack({"kind": "nothing", "id": 3}))
        assert "nothing in this studio answers 'nothing'" in unknown["error"]
        assert unknown["id"] == 3
        assert "is not a frame" in said(b"no frame")["error"]


def test_a_page_that_leaves_in_the_middle_takes_nothing_with_it(studio):
    shape = {"family": "mixture", "mu": 0, "sigma": 1, "mu2": 3, "sigma2": 1, "weight": 0.5}
    for _ in range(10):
        with connect(studio, Origin=studio.origin, Cookie=cookie(studio)) as page:
            page.send(pack({"kind": "explore.kl", "id": 1, "p": shape, "q": shape}))
            page.socket.shutdown(socket.SHUT_RDWR)  # no goodbye
    assert get(studio, Cookie=cookie(studio))[0] == 200


def test_events_reach_every_page_until_it_leaves():
    session, heard = Session(), []
    leave = session.listen(heard.append)
    session.tell("train.metrics", {"epoch": 3}, [b"x"])
    leave()
    session.tell("train.metrics", {"epoch": 4})
    assert heard == [Reply({"epoch": 3, "event": "train.metrics"}, [b"x"])]


def test_a_missing_key_is_named():
    @answers("test.missing")
    def missing(_session, content, _buffers):
        return Reply({"value": content["run"]})

    assert Session().ask({"kind": "test.missing", "id": 1}).content["error"] == "missing 'run'"


@pytest.mark.parametrize("frame", [b"", b"\x01", pack({"a": 1}, [b"12345678"])[:-1], pack({})[:9], b"\xff" * 40])
def test_a_frame_that_is_cut_short_says_so(frame):
    with pytest.raises(FrameError):
        unpack(frame)


def test_a_port_in_use_is_named_with_the_next_free_one():
    taken = listen(0)
    port = taken.getsockname()[1]
    try:
        with pytest.raises(OSError, match=rf"port {port} is in use on 127.0.0.1; write --port \d+"):
            listen(port)
        assert isinstance(taken, socket.socket)
    finally:
        taken.close()
    with pytest.raises(ValueError, match="--port is from 0"):
        listen(70000)


def test_answers_are_sent_at_once():
    """With Nagle's delay, which asyncio leaves on for sockets that name no protocol, each answer would wait 40 ms."""
    sent_at_once = []

    class Peer(asyncio.Protocol):
        def connection_made(self, transport):
            accepted = transport.get_extra_info("socket")
            sent_at_once.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            transport.close()

    async def connect(listening):
        server = await asyncio.get_running_loop().create_server(Peer, sock=listening)
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        await reader.read()
        writer.close()
        server.close()

    with ThreadPoolExecutor(1) as pool:  # Playwright's loop runs in this thread
        pool.submit(asyncio.run, connect(listen(0))).result()
    assert sent_at_once == [1]


def _packed(studio, path):
    connection = http.client.HTTPConnection("127.0.0.1", studio.port)
    connection.request("GET", path, headers={"Cookie": cookie(studio), "Accept-Encoding": "gzip, br"})
    answer = connection.getresponse()
    assert answer.getheader("content-encoding") == "gzip"
    body = answer.read(), int(answer.getheader("content-length"))
    connection.close()
    return body


def test_the_first_document_names_all_modules_and_a_file_is_sent_once(studio):
    status, text, _ = get(studio, Cookie=cookie(studio))
    assert status == 200
    assert 'href="./core/plot.js"' in text  # of the shell
    assert '"pages/metric/plane.js"' in text  # of a page
    status, text, headers = get(studio, "/core/plot.js", Cookie=cookie(studio))
    assert (status, headers["cache-control"]) == (200, "no-cache")
    assert "export function plot" in text
    again = get(studio, "/core/plot.js", Cookie=cookie(studio), **{"If-None-Match": headers["etag"]})
    assert again[:2] == (304, "")
    packed, size = _packed(studio, "/core/plot.js")
    assert gzip.decompress(packed).decode() == text
    assert size == len(packed) < len(text) / 2
    assert get(studio, "/core/none.js", Cookie=cookie(studio))[0] == 404
