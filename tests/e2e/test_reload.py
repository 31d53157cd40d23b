"""Models that come and go while requests run: nobody is refused, no answer is of another version
than the two there are, and memory comes back. Every test lists the codes it requires."""

from __future__ import annotations

import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton
from rig import LATEST, REQUEST, Rig, change, large_engine, load, unload
from serving import get, post, wait_for
from traffic import Traffic
from tritonclient.utils import InferenceServerException

MB = 1 << 20
# What may differ between two measures of a process that does the same.
RESIDENT_NOISE = 6 * MB


def test_same_version_is_replaced_under_load(rig: Rig) -> None:
    """200 for every request; each answer is the old file's or the new one's."""
    rig.put("fraud", 1, rig.engine(1))
    server = rig.poll()
    with Traffic(server, rig.rows({"1": [1, 2]})) as traffic:
        for kind in (2, 1, 2):
            loads = server.metric('verdict_model_loads_total{model="fraud",result="success"}')
            rig.put("fraud", 1, rig.engine(kind))
            rig.rescan()
            wait_for(lambda before=loads: server.metric(
                'verdict_model_loads_total{model="fraud",result="success"}') > before, "loaded")
            got = server.ask(REQUEST).json()["outputs"][0]["data"]
            np.testing.assert_allclose(got, rig.probabilities(kind)[0], 1e-5, 1e-5)
            traffic.wait_for_more(10)
    traffic.check({"200", "OK"})


@pytest.mark.scenario(24, required={"200", "OK"})
def test_a_half_written_version_is_ignored(rig: Rig) -> None:
    """200 from v1 while v2 is copied, under another name or piece by piece; then from v2."""
    rig.put("fraud", 1, rig.engine(1))
    (rig.root / "fraud" / "config.yaml").write_text(LATEST)
    server = rig.poll()
    whole = rig.engine(2)
    folder = rig.root / "fraud" / "2"
    with Traffic(server, rig.rows({"1": [1], "2": [2]})) as traffic:
        folder.mkdir()
        for name in ("model.engine.part", ".model.engine.x"):
            (folder / name).write_bytes(whole[:1000])
        rig.rescan()
        wait_for(lambda: "fraud/2: no model.engine" in server.log(), "it is ignored aloud")
        assert rig.state("fraud", 2) == ""
        with (folder / "model.engine").open("wb") as slow:
            for at in range(0, len(whole), len(whole) // 4 + 1):
                slow.write(whole[at:at + len(whole) // 4 + 1])
                slow.flush()
                if slow.tell() < len(whole):
                    rig.rescan()
                    wait_for(lambda: rig.state("fraud", 2) == "UNAVAILABLE", "it is incomplete")
        assert traffic.versions == {"1"}
        rig.rescan()
        traffic.wait_for_version(2)
    traffic.check({"200", "OK"})


def test_a_served_file_that_is_destroyed_changes_nothing(rig: Rig) -> None:
    """200 and the same scores while the file is overwritten, truncated and removed."""
    rig.put("fraud", 1, rig.engine(1))
    server = rig.poll()
    file = rig.root / "fraud" / "1" / "model.engine"
    size = file.stat().st_size
    with Traffic(server, rig.rows({"1": [1]})) as traffic:
        for destroy in (lambda: file.write_bytes(b"\xff" * size), lambda: os.truncate(file, 100),
                        lambda: os.truncate(file, 0)):
            destroy()
            rig.rescan()
            traffic.wait_for_more(40)
        wait_for(lambda: rig.index()["fraud", "1"]["reason"] != "", "the index says why")
        assert rig.state("fraud", 1) == "READY"
    traffic.check({"200", "OK"})
    assert server.process.poll() is None


def test_removal_unloads_and_readiness_follows(rig: Rig) -> None:
    rig.put("fraud", 1, rig.engine(1))
    server = rig.poll()
    assert server.ask(get("/v2/health/ready")).code == 200
    shutil.rmtree(rig.root / "fraud")
    rig.rescan()
    wait_for(lambda: server.ask(get("/v2/models/fraud/ready")).code == 404, "unloaded")
    assert server.ask(get("/v2/health/ready")).code == 503
    assert server.ask(get("/v2/health/live")).code == 200
    rig.put("fraud", 1, rig.engine(1))
    rig.rescan()
    wait_for(lambda: server.ask(get("/v2/health/ready")).code == 200, "loaded again")
    with triton.InferenceServerClient(server.admin_address) as client:
        with pytest.raises(InferenceServerException, match="not allowed if polling is enabled"):
            client.load_model("fraud")


def test_triton_client_loads_and_unloads(rig: Rig) -> None:
    """As tritonclient does it; errors 400, 404 and 503."""
    rig.put("fraud", 1, rig.engine(1))
    rig.put("fraud", 2, rig.engine(2))
    server = rig.explicit([])
    assert server.ask(get("/v2/health/ready")).code == 503
    with triton.InferenceServerClient(server.admin_address) as client:
        assert not client.is_model_ready("fraud")
        assert {e["state"] for e in client.get_model_repository_index()} == {"UNAVAILABLE"}
        client.load_model("fraud")
        assert client.is_server_ready() and client.is_model_ready("fraud", "2")
        assert client.get_model_metadata("fraud")["versions"] == ["1", "2"]
        client.load_model("fraud", config=json.dumps(
            {"version_policy": {"specific": {"versions": [1]}}}))
        assert client.get_model_metadata("fraud")["versions"] == ["1"]
        assert client.get_model_config("fraud")["version_policy"] == {"specific": {"versions": [1]}}
        for code, call in (
            ("404", lambda: client.load_model("none")),
            ("404", lambda: client.unload_model("none")),
            ("400", lambda: client.load_model("fraud", config="{\"max_batch_size\": -1}")),
            ("400", lambda: client.load_model("fraud", config="{}", files={"file:1/m": b"x"})),
        ):
            with pytest.raises(InferenceServerException) as refused:
                call()
            assert refused.value.status() == code, refused.value
        assert client.is_model_ready("fraud", "1")
        client.unload_model("fraud", unload_dependents=True)
        assert not client.is_model_ready("fraud") and not client.is_server_ready()
    ready = server.ask(post("/v2/repository/index", {"ready": True}))
    assert ready.code == 200 and ready.json() == []
    assert change(server, "all/models/fraud/load") == (200, "")
    ready = server.ask(post("/v2/repository/all/index", {"ready": True}))
    assert ready.code == 200 and len(ready.json()) == 2


def test_a_broken_configuration_leaves_what_was_loaded(rig: Rig) -> None:
    """The log says that, and why."""
    rig.put("fraud", 1, rig.engine(1))
    server = rig.poll()
    (rig.root / "fraud" / "config.yaml").write_text("max_batchsize: 8")
    rig.rescan()
    wait_for(lambda: "model fraud: the change is refused; version 1 as loaded before keeps serving: "
             in server.log(), "the refusal is logged")
    assert server.ask(REQUEST).code == 200


BATCHING = """max_batch_size: 8
dynamic_batching:
  preferred_batch_size: [2, 4]
  max_queue_delay_microseconds: 100
  priority_levels: 2
  default_priority_level: 1
  priority_queue_policy: {2: {max_queue_size: 7}}
"""


@pytest.mark.parametrize("transport", ["http", "grpc"])
@pytest.mark.parametrize("file", ["", BATCHING, "instance_group: [{count: 2}]"])
def test_a_configuration_can_be_sent_back(rig: Rig, transport: str, file: str) -> None:
    """As the server gives it, it changes nothing; what the engine says otherwise is 400."""
    rig.put("fraud", 1, rig.engine(1))
    (rig.root / "fraud" / "config.yaml").write_text(file)
    server = rig.explicit(["fraud"], "--set", "auth.admin_on_inference_port=true")
    module, address = {"http": (triton, server.address), "grpc": (triton_grpc, server.grpc_address)}[transport]
    with module.InferenceServerClient(address) as client:
        def config() -> dict:
            if transport == "http":
                return client.get_model_config("fraud")
            return client.get_model_config("fraud", as_json=True)["config"]

        before = config()
        assert before["input"][0]["name"] == "x"
        client.load_model("fraud", config=json.dumps(before))
        assert config() == before
        assert server.ask(REQUEST).code == 200
        for key, wrong in (("dims", [3]), ("data_type", "TYPE_FP64"), ("name", "y")):
            changed = json.loads(json.dumps(before))
            changed["input"][0][key] = wrong
            with pytest.raises(InferenceServerException) as refused:
                client.load_model("fraud", config=json.dumps(changed))
            assert refused.value.status() in ("400", "StatusCode.FAILED_PRECONDITION")
            message = refused.value.message()
            assert "version 1: parameter 'config':1:" in message and "key 'input[0]'" in message
            assert "the engine" in message and "leave it out" in message
        assert rig.state("fraud", 1) == "READY"  # what was loaded before
        assert server.ask(REQUEST).code == 200
        for changed in ({"name": "other"}, {"platform": "onnxruntime_onnx"}, {"backend": "python"}):
            with pytest.raises(InferenceServerException, match="must be 'verdict|must be 'fraud'"):
                client.load_model("fraud", config=json.dumps(before | changed))
        with pytest.raises(InferenceServerException, match="cannot be sent with the call"):
            client.load_model("fraud", config="{}", files={"file:1/model.engine": b"x"})


def test_unloading_gives_the_memory_back(rig: Rig, tmp_path: pathlib.Path) -> None:
    """Also where an idle I/O thread was the last to use the model."""
    width = 1536
    engine = large_engine(tmp_path, width)
    rig.put("fraud", 1, rig.engine(1))
    rig.put("large", 1, engine)
    server = rig.explicit(["fraud"], "--io-threads", 3)
    clients = [server.client() for _ in range(6)]  # two an I/O thread
    request = post("/v2/models/large/infer", {"inputs": [
        {"name": "x", "datatype": "FP32", "shape": [1, width], "data": [0.5] * width}]})
    for client in clients:
        assert client.ask(REQUEST).code == 200
    before = server.resident_bytes()
    for _ in range(3):
        assert load(server, "large") == (200, "")
        for client in clients:
            assert client.ask(request).code == 200
        assert server.resident_bytes() > before + 4 * width * width
        assert unload(server, "large") == (200, "")
        wait_for(lambda: server.resident_bytes() < before + RESIDENT_NOISE, "memory comes back")
    wait_for(lambda: rig.state("large", 1) == "UNAVAILABLE", "nothing of it is left")
