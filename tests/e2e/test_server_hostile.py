"""What clients send by mistake or on purpose: an error that names the field, and a server that
goes on. Every test lists the codes it requires."""

from __future__ import annotations

import gzip
import http.client
import json
import pathlib
import re
import resource
import socket
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from open_loop import steady
from serving import Client, Response, Server, get, golden, post, wait_for
from slow_model import WIDTH, build_slow

INFER = "/v2/models/fraud/versions/1/infer"
STRINGS = "/v2/models/strings/versions/1/infer"


def tensor(**changes: object) -> dict:
    """A good input "x" with the changes; a change to None leaves the field out."""
    fields = {"name": "x", "datatype": "FP32", "shape": [1, 10], "data": [0.5] * 10, **changes}
    return {key: value for key, value in fields.items() if value is not None}


def request(*inputs: dict, **fields: object) -> dict:
    return {"inputs": list(inputs or [tensor()]), **fields}


@pytest.fixture(autouse=True)
def still_live_and_right(server: Server):
    """After every test: the server is live and answers as before."""
    yield
    assert server.process.poll() is None
    assert server.ask(get("/v2/health/live")).code == 200
    inputs, expected = golden("skl_lr_binary")
    body = request(tensor(shape=list(inputs["x"].shape), data=inputs["x"].tolist()))
    answer = server.ask(post(INFER, body))
    assert answer.code == 200
    outputs = {o["name"]: np.array(o["data"]) for o in answer.json()["outputs"]}
    np.testing.assert_allclose(outputs["probabilities"].reshape(-1, 2),
                               expected["probabilities"], 1e-5, 1e-5)


BAD_JSON = {
    "empty": ("", "no JSON text"),
    "no object": ("[]", "must be a JSON object"),
    "cut off": ('{"inputs": [', "ends before it is complete"),
    "trailing": ('{"inputs": []} x', "not JSON"),
    "two documents": ('{"inputs": []}{"inputs": []}', "not JSON"),
    "no inputs": ("{}", "field inputs is missing"),
    "inputs no array": ({"inputs": {}}, "field inputs must be an array"),
    "inputs empty": ({"inputs": []}, "input 'x' is missing"),
    "input no object": ({"inputs": [1]}, "field inputs[0] must be an object"),
    "no name": (request(tensor(name=None)), "field inputs[0].name is missing"),
    "unknown input": (request(tensor(name="w")), "no input 'w'; it has 'x'"),
    "second unknown": (request(tensor(), tensor(name="w")), "field inputs[1]: the model has no"),
    "duplicate input": (request(tensor(), tensor()), "input 'x' is given twice"),
    "no datatype": (request(tensor(datatype=None)), "input 'x': datatype is missing"),
    "wrong datatype": (request(tensor(datatype="FP64")), "input 'x': datatype is 'FP64'"),
    "unknown datatype": (request(tensor(datatype="float")), "input 'x': datatype is 'float'"),
    "no shape": (request(tensor(shape=None)), "input 'x': shape is missing"),
    "negative dimension": (request(tensor(shape=[-1, 10])), "input 'x': shape: the extent -1"),
    "fractional dimension": (request(tensor(shape=[1.5, 10])), "input 'x': shape: must be"),
    "wrong rank": (request(tensor(shape=[10])), "input 'x': shape: [10] does not fit"),
    "wrong extent": (request(tensor(shape=[1, 9])), "input 'x': shape: [1,9] does not fit"),
    "rank 9": (request(tensor(shape=[1] * 9)), "input 'x': shape: more than 8 extents"),
    "product overflows": (request(tensor(shape=[2**62, 10])), "input 'x': shape"),
    "bytes overflow": (request(tensor(shape=[2**60, 10])), "input 'x': shape"),
    "dimension overflows": (request(tensor(shape=[2**64, 10])), "input 'x': shape: must be"),
    "huge claim": (request(tensor(shape=[10**9, 10])), "input 'x': data: fewer elements"),
    "zero rows": (request(tensor(shape=[0, 10], data=[])), "'x'"),
    "over the profile": (request(tensor(shape=[129, 10], data=[0.0] * 1290)), "128"),
    "no data": (request(tensor(data=None)), "input 'x': data is missing"),
    "data no array": (request(tensor(data=1)), "input 'x': data: is an integer"),
    "too few": (request(tensor(data=[0.5] * 9)), "input 'x': data: has 9 elements"),
    "too many": (request(tensor(data=[0.5] * 11)), "input 'x': data: has more than the 10"),
    "nested otherwise": (request(tensor(shape=[2, 10], data=[[0.5] * 5] * 4)),
                         "input 'x': data: has an array of fewer than 10 items at level 2"),
    "ragged": (request(tensor(shape=[2, 10], data=[[0.5] * 10, [0.5] * 9])),
               "input 'x': data: has an array of fewer than 10 items at level 2"),
    "string for number": (request(tensor(data=["1"] * 10)), "input 'x': data: element 0"),
    "null for number": (request(tensor(data=[0.5] * 9 + [None])), "input 'x': data: element 9"),
    "boolean for number": (request(tensor(data=[True] * 10)), "input 'x': data: element 0"),
    "NaN": (request(tensor(data=[0.5] * 9 + [float("nan")])), "tensor 'x': 'NaN'"),
    "Infinity": (request(tensor(data=[float("inf")] * 10)), "tensor 'x': 'Infinity'"),
    "-Infinity": (request(tensor(data=[float("-inf")] * 10)), "tensor 'x': '-Infinity'"),
    "over FP32": (request(tensor(data=[1e39] * 10)), "input 'x': data: element 0 is out of"),
    "over FP64": ('{"inputs":[{"name":"x","data":[1e999]}]}', "tensor 'x': the number '1e999'"),
    "unknown output": (request(outputs=[{"name": "w"}]), "no output 'w'"),
    "duplicate output": (request(outputs=[{"name": "label"}] * 2), "output 'label' is asked for"),
    "outputs no array": (request(outputs={}), "field outputs must be an array"),
    "id no string": (request(id=7), "field id must be a string"),
    "parameters no object": (request(parameters=1), "field parameters must be an object"),
    "binary_data no flag": (
        request(outputs=[{"name": "label", "parameters": {"binary_data": 1}}]),
        "field outputs[0].parameters.binary_data must be true or false"),
    "raw without binary": (request(tensor(data=None, parameters={"binary_data_size": 40})),
                           "input 'x': binary_data_size is 40, only 0 bytes are left"),
    "deep 120": ('{"inputs":[{"name":"x","data":' + "[" * 120 + "]" * 120 + "}]}",
                 "nested deeper than"),
    "deep 250000": ('{"inputs":[{"name":"x","data":' + "[" * 250_000 + "]" * 250_000 + "}]}",
                    "nested deeper than"),
    "deep parameters": ('{"parameters":' + '{"a":' * 120 + "1" + "}" * 120 + "}", "nested deeper"),
    "not UTF-8": (b'{"id":"\xff"}', "not JSON"),
}


@pytest.mark.scenario(18)
@pytest.mark.scenario(19)
@pytest.mark.parametrize("case", BAD_JSON)
def test_bad_json_is_400_and_names_the_field(server: Server, case: str) -> None:
    body, message = BAD_JSON[case]
    answer = server.ask(post(INFER, body))
    assert answer.code == 400
    assert message in answer.error()


def binary_request(raw: bytes, size: object = 40, header_length: object = None,
                   **fields: object) -> bytes:
    header = json.dumps(request(tensor(data=None, parameters={"binary_data_size": size})))
    length = len(header) if header_length is None else header_length
    return post(INFER, header.encode() + raw, Inference_Header_Content_Length=length, **fields)


ROW = np.full(10, 0.5, np.float32).tobytes()
BAD_BINARY = {
    "header length huge": (binary_request(ROW, header_length=99999999999), "the body has"),
    "header length over 64 bits": (binary_request(ROW, header_length="9" * 30), "whole number"),
    "header length negative": (binary_request(ROW, header_length=-1), "whole number"),
    "header length no number": (binary_request(ROW, header_length="ten"), "whole number"),
    "header length hexadecimal": (binary_request(ROW, header_length="0x10"), "whole number"),
    "header length empty": (binary_request(ROW, header_length=""), "whole number"),
    "header length zero": (binary_request(ROW, header_length=0), "no JSON text"),
    "header length short": (binary_request(ROW, header_length=10), "not JSON"),
    "header length long": (binary_request(ROW, header_length=len(ROW) + 20), "not JSON"),
    "too little": (binary_request(ROW[:-1]), "only 39 bytes are left"),
    "too much": (binary_request(ROW + b"x"), "1 bytes after the JSON text"),
    "size short": (binary_request(ROW, size=36), "input 'x': binary_data_size is 36"),
    "size huge": (binary_request(ROW, size=2**63), "binary_data_size is 9223372036854775808"),
    "size negative": (binary_request(ROW, size=-40), "inputs[0].parameters.binary_data_size"),
    "size no number": (binary_request(ROW, size="40"), "inputs[0].parameters.binary_data_size"),
    "two lengths": (binary_request(ROW, Inference_header_Content_Length=3), "given twice"),
}


@pytest.mark.scenario(17)
@pytest.mark.parametrize("case", BAD_BINARY)
def test_bad_binary_form_is_400(server: Server, case: str) -> None:
    data, message = BAD_BINARY[case]
    answer = server.ask(data)
    assert answer.code == 400
    assert message in answer.error()


def test_bad_string_tensors_are_400(server: Server) -> None:
    inputs, expected = golden("skl_onehot_ordinal_lr")

    def ask(country: bytes):
        header, raw = [], b""
        for name, values in inputs.items():
            if values.dtype.kind == "U":
                data = b"".join(struct.pack("<I", len(v)) + v.encode() for v in values[:1].ravel())
            else:
                data = values[:1].tobytes()
            data = country if name == "country" and country else data
            kinds = {"f": "FP32", "i": "INT64", "U": "BYTES"}
            header.append({"name": name, "datatype": kinds[values.dtype.kind], "shape": [1, 1],
                           "parameters": {"binary_data_size": len(data)}})
            raw += data
        text = json.dumps({"inputs": header}).encode()
        return server.ask(post(STRINGS, text + raw, Inference_Header_Content_Length=len(text)))

    good = ask(b"")
    assert good.code == 200
    assert good.json()["outputs"][0]["data"] == expected["label"][:1].tolist()
    for bad in (b"\x02\x00\x00\x00F", b"\xff\xff\xff\xffFR", b"\x02\x00\x00", b"\x00" * 8,
                struct.pack("<I", 2) + b"FRx"):
        answer = ask(bad)
        assert answer.code == 400
        assert "input 'country'" in answer.error()


def test_unknown_things_are_404_and_wrong_methods_405(server: Server) -> None:
    body = json.dumps(request())
    for target in ("/", "/v1", "/v2/nothing", "/v2/models", "/v2/models//infer", "/v2/models/none",
                   "/v2/models/fraud/versions/99", "/v2/models/fraud/versions/1/nothing",
                   "/v2/models/..%2f..%2fetc%2fpasswd", "*", "/" + "a/" * 40):
        assert server.ask(get(target)).code == 404, target
    assert server.ask(post("/v2/models/none/infer", body)).code == 404
    assert server.ask(post("/v2/models/fraud/versions/99/infer", body)).code == 404
    assert server.ask(post("/v2/models/fraud/versions/one/infer", body)).code == 400
    for target in ("/v2%zz", "/v2/models/%", "/v2/models/a%00"):
        assert server.ask(get(target)).code == 400, target
    for data, allow in ((get(INFER), "POST"), (post("/v2", ""), "GET, HEAD"),
                        (get("/v2/repository/index"), "POST"),
                        (b"DELETE /v2/models/fraud HTTP/1.1\r\nHost: h\r\n\r\n", "GET, HEAD")):
        answer = server.ask(data)
        assert answer.code == 405
        assert answer.fields["allow"] == allow


def test_what_is_no_http_is_refused(server: Server) -> None:
    cases = [
        (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n"),
        (400, b"GET\r\n\r\n"),
        (400, b"GET /v2 HTTP/1.1\r\nno colon\r\n\r\n"),
        (505, b"GET /v2 HTTP/2.0\r\n\r\n"),
        (414, b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n"),
        (431, b"GET /v2 HTTP/1.1\r\n" + b"A: b\r\n" * 5000 + b"\r\n"),
        (431, b"GET /v2 HTTP/1.1\r\nA: " + b"b" * 20_000 + b"\r\n\r\n"),
        (400, b"POST /v2 HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        (400, b"POST /v2 HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (501, b"POST /v2 HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        (400, b"POST /v2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
        (417, b"POST /v2 HTTP/1.1\r\nExpect: miracles\r\nContent-Length: 1\r\n\r\n"),
    ]
    for code, data in cases:
        client = server.client()
        answer = client.ask(data)
        assert answer.code == code, data[:60]
        assert answer.fields["connection"] == "close"
        assert client.closed()
        client.close()


def test_media_types_and_encodings(server: Server) -> None:
    body = json.dumps(request()).encode()
    for good in ("application/json", "application/json; charset=utf-8", "text/plain",
                 "application/octet-stream", "application/x-www-form-urlencoded"):
        assert server.ask(post(INFER, body, Content_Type=good)).code == 200, good
    for bad in ("multipart/form-data; boundary=b", "application/xml", "image/png"):
        assert server.ask(post(INFER, body, Content_Type=bad)).code == 415, bad
    for encoding, packed in (("gzip", gzip.compress(body)), ("deflate", zlib.compress(body)),
                             ("GZIP", gzip.compress(body)), ("identity", body)):
        assert server.ask(post(INFER, packed, Content_Encoding=encoding)).code == 200, encoding
    for encoding in ("br", "zstd", "gzip, gzip"):
        assert server.ask(post(INFER, body, Content_Encoding=encoding)).code == 415, encoding
    packed = gzip.compress(body)
    for damaged in (body, packed[:-3], packed + b"x", packed[:-5] + b"\x00" + packed[-4:], b""):
        assert server.ask(post(INFER, damaged, Content_Encoding="gzip")).code == 400


def test_bodies_over_the_limit_are_413(
    small_repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    running = Server(small_repository, tmp_path / "log", "--max-body-bytes", 100_000,
                     "--drain-ms", 0)
    try:
        body = json.dumps(request()).encode()
        fits = body + b" " * (100_000 - len(body))
        assert running.ask(post(INFER, fits)).code == 200
        assert running.ask(post(INFER, fits + b" ")).code == 413
        # The claim is enough; nobody waits for the body.
        head = f"POST {INFER} HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n"
        assert running.ask(head.encode()).code == 413
        chunked = f"POST {INFER} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        assert running.ask(chunked + b"186A1\r\n").code == 413
        assert running.ask(chunked + (b"8000\r\n" + b" " * 0x8000 + b"\r\n") * 4).code == 413
        bomb = gzip.compress(b" " * 50_000_000)
        assert len(bomb) < 100_000
        assert running.ask(post(INFER, bomb, Content_Encoding="gzip")).code == 413
        # The whole refused body is sent before the answer is read, as simple clients do.
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
        connection.request("POST", INFER, body=b" " * 3_000_000)
        assert connection.getresponse().status == 413
        connection.close()
        assert running.resident_bytes() < 200 << 20
    finally:
        assert running.stop() == 0


def test_big_json_is_413_and_cut_off_json_is_refused_fast(
    small_repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """413 over 8 MiB of JSON text, 400 just under it; neither costs much time, nor memory that is
    kept."""
    running = Server(small_repository, tmp_path / "log", "--io-threads", 1, "--drain-ms", 0)
    try:
        def ask(text: bytes) -> Response:
            packed = gzip.compress(text, 1)
            begin = time.monotonic()
            answer = running.ask(post(INFER, packed, Content_Encoding="gzip"))
            assert time.monotonic() - begin < 1
            return answer

        before = running.resident_bytes()
        huge = ask(b'{"x":[' + b"[]," * (20 << 20) + b"[]]}")
        assert huge.code == 413 and "binary form" in huge.error()
        size = (8 << 20) - 100
        assert ask(b'{"x":[' + b"[]," * (size // 3) + b"[]]}").error() == "field inputs is missing"
        for number in (b"1", b"1.5", b"1e9", b"123456789012345678901"):
            cut_off = ask(b'{"x":[' + (number + b",") * (size // (len(number) + 1)))
            assert cut_off.code == 400 and "ends before it is complete" in cut_off.error()
        assert running.resident_bytes() - before < 50 << 20
    finally:
        assert running.stop() == 0


def test_expect_continue(server: Server) -> None:
    body = json.dumps(request()).encode()
    client = server.client()
    client.send(f"POST {INFER} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode())
    assert client.read().code == 100
    assert client.ask(body).code == 200
    client.close()


def test_pipelined_and_byte_by_byte_requests(server: Server) -> None:
    one = post(INFER, request(id="a"))
    two = post(INFER, request(id="b"))
    client = server.client()
    client.send(one + two + get("/v2") + one)
    assert [client.read().json().get("id") for _ in range(2)] == ["a", "b"]
    assert client.read().json()["name"] == "verdict"
    assert client.read().json()["id"] == "a"
    for byte in one:
        client.send(bytes([byte]))
    assert client.read().code == 200
    client.close()


@pytest.mark.scenario(20)
def test_more_than_65536_chunks(server: Server) -> None:
    """200, in bounded memory, and for all others meanwhile."""
    body = json.dumps(request()).encode() + b" " * 70_000
    before = server.resident_bytes()
    client = server.client()
    with steady(server):
        client.send(
            f"POST {INFER} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        client.send(b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")
        assert client.read().code == 200
    client.close()
    assert server.resident_bytes() - before < 20 << 20


def test_a_chunk_header_without_end_is_refused(server: Server) -> None:
    client = server.client()
    client.send(f"POST {INFER} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    assert client.ask(b"1;" + b"e" * 40_000).code == 400
    client.close()


@pytest.mark.scenario(20)
def test_slow_loris_is_cut_off_and_others_are_served(
    small_repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """408 for a request that trickles, 200 for all others meanwhile."""
    running = Server(small_repository, tmp_path / "log", "--read-timeout-s", 1,
                     "--idle-timeout-s", 1, "--drain-ms", 0)
    try:
        data = post(INFER, request())
        slow = [running.client() for _ in range(200)]
        silent = running.client()
        for client in slow:
            client.send(data[:60])
        with steady(running):
            deadline = time.monotonic() + 1.5
            while time.monotonic() < deadline:  # a byte now and then does not buy time
                for client in slow:
                    client.send(b"x")
                time.sleep(0.1)
        for client in slow:
            assert client.read().code == 408
            client.close()
        assert silent.closed()
        silent.close()
    finally:
        assert running.stop() == 0


@pytest.mark.scenario(20)
def test_thousands_of_idle_connections(
    small_repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """10,000 idle connections (as many as this machine lets one process open), bounded memory, 200
    for the others; then 503 over the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(10_000, hard - 1000)
    limit = count + 100  # for the others
    running = Server(small_repository, tmp_path / "log", "--max-connections", limit,
                     "--idle-timeout-s", 600, "--drain-ms", 0)
    idle: list[Client] = []
    try:
        data = post(INFER, request())
        assert running.ask(data).code == 200
        before = running.resident_bytes()
        for _ in range(count):
            idle.append(running.client())
        wait_for(lambda: running.metric("verdict_http_connections") >= count, "all accepted")
        assert (running.resident_bytes() - before) / count < 4096
        with steady(running):
            time.sleep(1)
        wait_for(lambda: running.metric("verdict_http_connections") == count, "probes gone")
        while len(idle) < limit:
            idle.append(running.client())
        wait_for(lambda: running.metric("verdict_http_connections") == limit, "limit reached")
        assert running.client().read().code == 503
        assert idle[0].ask(data).code == 200
        refused = running.metric("verdict_http_connections_refused_total")
        assert refused >= 1
    finally:
        for client in idle:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert running.stop() == 0


def test_garbage_from_many_threads(server: Server) -> None:
    """Seeded mutations of a good request, garbage among them: any 4xx, 501, 505 or an end of the
    connection; 200 where it may still be a good one, and the right answer where its target and its
    body are whole. Never another code, silence, or no HTTP."""
    good = post(INFER, request())
    target, body = good.split(b"\r\n", 1)[0], good.split(b"\r\n\r\n", 1)[1]
    head_bytes = len(good) - len(body)
    answer = server.ask(good).body
    failures: list[str] = []
    checked: list[bytes] = []  # requests whose answer is known

    def ask(data: bytes) -> str:
        """What is wrong with the answer, or nothing."""
        client = server.client()
        try:
            client.send(data)
            client.socket.shutdown(socket.SHUT_WR)
            got = client.read()
        except ConnectionError:
            return ""
        except Exception as error:  # silence, for one
            return repr(error)
        finally:
            client.close()
        if got.code == 200 and data.startswith(target) and data.endswith(body):
            checked.append(data)
            return "" if got.body == answer else f"answered {got.body!r}"
        good_code = got.code in (200, 501, 505) or 400 <= got.code < 500
        return "" if good_code else f"code {got.code}"

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for i in range(150):
            data = bytearray(good)
            for _ in range(rng.integers(1, 4)):
                at = int(rng.integers(len(data) if i % 2 else head_bytes - 8))
                kind = rng.integers(3)
                if kind == 0:
                    data[at] = int(rng.integers(256))
                elif kind == 1:
                    del data[at: at + int(rng.integers(1, 8))]
                else:
                    data[at:at] = rng.bytes(int(rng.integers(1, 8)))
            if problem := ask(bytes(data)):
                failures.append(f"{problem}: {bytes(data)!r}")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[:3]
    assert checked


def test_no_body_reaches_the_log(server: Server) -> None:
    secret = "card-4111111111111111"
    assert server.ask(post(INFER, request(id=secret))).code == 200
    assert server.ask(post(INFER, request(tensor(name=secret)))).code == 400
    assert server.ask(post(INFER, f'{{"inputs": {secret}')).code == 400
    assert not re.search(secret, server.log())


def test_queued_requests_hold_what_the_budget_allows(tmp_path: pathlib.Path) -> None:
    """Each is 7.8 MiB of JSON text, in as much memory, and twice as much again as numbers. 503 once the
    budget is used up; the memory that parsing them took (14 times the text) is not held."""
    build_slow(tmp_path / "models" / "slow" / "1" / "model.engine")
    running = Server(tmp_path / "models", tmp_path / "log", "--drain-ms", 0,
                     "--set", "compute.threads=1", "--set", "http.max_body_bytes=9000000",
                     "--set", "http.max_held_body_bytes=110000000")
    before = running.resident_bytes()
    clients = [running.client() for _ in range(5)]
    try:
        rows = 16_000
        text = (f'{{"inputs":[{{"name":"x","datatype":"FP32","shape":[{rows},{WIDTH}],"data":['
                + ",".join(["1"] * (rows * WIDTH)) + "]}]}").encode()
        one = post("/v2/models/slow/infer", text)
        for waiting, client in enumerate(clients[:4]):  # the first of them runs
            client.send(one)
            wait_for(lambda: running.metric("nv_inference_pending_request_count"  # noqa: B023
                                            '{model="slow",version="1"}') == waiting, "queued")
            time.sleep(0.2)
        answer = clients[4].ask(one)
        assert answer.code == 503 and "are held at this moment" in answer.error()
        assert running.resident_bytes() - before < 400e6
        assert running.ask(get("/v2/health/live")).code == 200
    finally:
        for client in clients:
            client.close()
        running.process.kill()
        running.process.wait()
