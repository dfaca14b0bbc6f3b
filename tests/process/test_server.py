"""Runs in children of a preloaded process are what runs in processes of their own are."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from waiting import eventually

from kanbench.process import client, owner, server
from kanbench.records import record

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the server runs on Linux alone"),
]
SECONDS = 60.0


@pytest.fixture(scope="module")
def listening():
    """The socket of a server that ends with this test process; the variable that names it is set."""
    before = os.environ.pop(client.VARIABLE, None)
    path = server.start()
    yield path
    for process in servers():
        process.terminate()
    assert eventually(lambda: not os.path.exists(path)), "the server leaves its socket behind"
    os.environ.pop(client.VARIABLE)
    if before is not None:
        os.environ[client.VARIABLE] = before


def servers() -> list[psutil.Process]:
    return [process for process in psutil.Process().children() if "serve" in process.cmdline()]


def runs() -> list[psutil.Process]:
    return [child for process in servers() for child in process.children(recursive=True)]


def busy(processes: list[psutil.Process]) -> bool:
    """Tell whether any of the processes has worked for a while."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return any(sum(process.cpu_times()[:2]) > 0.3 for process in processes)
    return False


def command(spec, output) -> list[str]:
    return ["train", "--spec", json.dumps(spec), "--output", str(output)]


def test_a_forked_run_leaves_the_record_of_a_run_of_its_own(listening, spec, tmp_path, capfd):
    forked, alone = tmp_path / "forked.json", tmp_path / "alone.json"
    assert client.delegate(command(spec, forked)) == 0, "the server does it"
    assert capfd.readouterr().out.startswith("ok  feynman/mlp/"), "the child writes where its client would"
    done = subprocess.run(
        [sys.executable, "-m", "kanbench", *command(spec, alone)], env={**os.environ, client.VARIABLE: "off"}
    )
    assert done.returncode == 0
    one, other = record.read(forked), record.read(alone)
    assert {key for key in one if one[key] != other[key]} <= {"time", "code", "sha256"}
    assert one["code"]["digest"] == other["code"]["digest"]


def test_exit_status_message_folder_and_environment_are_the_clients(listening, spec, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert client.delegate(command(spec, "here.json")) == 0
    assert (tmp_path / "here.json").is_file()
    spec["method"]["name"] = "mpl"
    assert client.delegate(command(spec, "not.json")) == 1
    assert "did you mean 'mlp'?" in capfd.readouterr().err
    assert client.delegate(["train", "--unknown"]) == 2
    monkeypatch.setenv("KANBENCH_ROOT", str(tmp_path / "nowhere"))
    assert client.delegate(command(spec, "not.json")) == 1, "no baselines there"


def test_code_edited_between_two_runs_is_seen(listening, spec, suite, monkeypatch):
    monkeypatch.setenv("KANBENCH_ROOT", str(suite))
    monkeypatch.chdir(suite)
    first, second = suite / "first.json", suite / "second.json"
    assert client.delegate(command(spec, first)) == 0
    model = suite / "baselines" / "mlp" / "model.py"
    model.write_text(
        model.read_text() + "\n\n_build = build\n\n\ndef build(problem, settings):\n"
        "    return nn.Sequential(_build(problem, settings), nn.Linear(1, 1))\n"
    )
    assert client.delegate(command(spec, second)) == 0
    counts = [record.read(path)["parameters"]["trainable"] for path in (first, second)]
    assert counts[1] == counts[0] + 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_to_the_client_ends_the_run(listening, spec, tmp_path, number):
    spec["training"]["steps"] = 10_000_000
    started = subprocess.Popen(
        [sys.executable, "-m", "kanbench", *command(spec, tmp_path / "never.json")], stderr=subprocess.DEVNULL
    )
    assert eventually(lambda: busy(runs()))
    started.send_signal(number)
    expected = 130 if number == signal.SIGINT else -number
    assert started.wait(SECONDS) == expected
    assert eventually(lambda: not runs())
    assert not (tmp_path / "never.json").exists()


def test_what_differs_from_the_server_is_declined(listening, spec, tmp_path, monkeypatch):
    arguments = command(spec, tmp_path / "r.json")
    monkeypatch.setenv("TORCH_SOMETHING", "1")
    assert client.delegate(arguments) is None, "torch may have read it when it was imported"
    monkeypatch.delenv("TORCH_SOMETHING")
    monkeypatch.setattr(client, "identity", lambda: {"packages": "others"})
    assert client.delegate(arguments) is None
    monkeypatch.undo()
    assert client.delegate(["plan"]) is None, "not a verb for the server"
    monkeypatch.setenv(client.VARIABLE, str(tmp_path / "nothing"))
    assert client.delegate(arguments) is None
    monkeypatch.setenv(client.VARIABLE, "off")
    assert client.delegate(arguments) is None
    assert server.start() is None, "off means off"


def test_a_run_whose_server_dies_is_done_by_the_client(spec, tmp_path, monkeypatch):
    monkeypatch.delenv(client.VARIABLE, raising=False)
    before = set(servers())
    server.start()
    (own,) = set(servers()) - before
    spec["training"]["steps"] = 4000
    output = tmp_path / "r.json"
    started = subprocess.Popen([sys.executable, "-m", "kanbench", *command(spec, output)])
    assert eventually(lambda: busy(own.children(recursive=True)))
    children = own.children(recursive=True)
    own.kill()
    own.wait()
    assert eventually(lambda: not any(child.is_running() for child in children))
    assert started.wait(SECONDS) == 0
    assert record.read(output)["status"] == "ok"


def say(path: str, content: bytes, streams: int = 3) -> bytes:
    """Send a request by hand; return what the server answers before it hangs up."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(SECONDS)
        connection.connect(path)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if streams:
                socket.send_fds(connection, [content[:4]], [0] * streams)
                connection.sendall(content[4:])
            else:
                connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(100)
    return b""


def framed(document: object) -> bytes:
    content = json.dumps(document).encode()
    return client.HEADER.pack(len(content)) + content


def malformed() -> dict[str, bytes]:
    """Requests that no client makes, by what is wrong with them."""
    good = client.request(["train", "--help"])
    without = [framed({key: good[key] for key in good if key != gone}) for gone in good]
    wrong = [framed(good | {key: value}) for key in good for value in (None, 3, [None], {"a": []}, "x\0")]
    special = [
        framed(good | {"arguments": []}),
        framed(good | {"arguments": ["serve", "x"]}),
        framed(good | {"limits": {"RLIMIT_NPROC": [0, 0]}}),
        framed(good | {"limits": {"RLIMIT_AS": [0]}}),
        framed([good]),
        framed(3),
        client.HEADER.pack(6) + b"[[[[[[",
        client.HEADER.pack(200_000) + b"[" * 200_000,
        client.HEADER.pack(8) + b"\xff" * 8,
        client.HEADER.pack(2**32 - 1) + b"x" * 1000,
        client.HEADER.pack(100),
        b"\0",
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
    ]
    return {f"request {number}": content for number, content in enumerate([*without, *wrong, *special])}


def test_the_server_survives_malformed_requests(listening, spec, tmp_path):
    (process,) = servers()
    for name, content in malformed().items():
        answer = say(listening, content)
        assert len(answer) in (0, 4, 8), name
        assert process.is_running(), name
    for streams in (0, 1, 2, 4, 9):
        assert say(listening, framed(client.request(["train"])), streams) == b""
    draws = random.Random(0)
    good = framed(client.request(["train", "--help"]))
    for _ in range(200):
        content = bytearray(good)
        for _ in range(draws.randint(1, 8)):
            content[draws.randrange(len(content))] = draws.randrange(256)
        say(listening, bytes(content[: draws.choice([len(content), draws.randrange(len(content))])]))
        assert process.is_running()
    assert client.delegate(command(spec, tmp_path / "after.json")) == 0


def test_a_client_that_stalls_keeps_nobody_waiting(listening, spec, tmp_path):
    stalled = []
    for part in (b"", client.HEADER.pack(1000), client.HEADER.pack(1000) + b"x" * 10):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(listening)
        connection.sendall(part)
        stalled.append(connection)
    started = time.monotonic()
    assert client.delegate(["train", "--unknown"]) == 2
    assert time.monotonic() - started < server.START_SECONDS, "it is served before the others are given up"
    for connection in stalled:
        connection.settimeout(SECONDS)
        assert connection.recv(1) == b"", "they are given up"
        connection.close()


def test_a_folder_too_deep_for_a_socket_is_done_without(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    monkeypatch.delenv(client.VARIABLE, raising=False)
    path = server.start()
    try:
        assert path is not None
        assert not path.startswith(str(deep))
        assert client.delegate(["train", "--unknown"]) == 2
    finally:
        os.environ.pop(client.VARIABLE, None)
        for process in (each for each in servers() if path in each.cmdline()):
            process.terminate()
            process.wait(SECONDS)


def test_a_server_that_stalls_is_done_without(listening, spec, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "ACCEPT_SECONDS", 1.0)
    (process,) = servers()
    process.suspend()
    try:
        assert client.delegate(command(spec, tmp_path / "r.json")) is None
    finally:
        process.resume()
    assert eventually(lambda: not runs()), "it does not begin what its client has done meanwhile"
    assert not (tmp_path / "r.json").exists()


def test_a_server_that_stalls_during_a_run_is_not_needed_for_its_end(listening, spec, tmp_path):
    spec["training"]["steps"] = 2000
    (process,) = servers()
    started = subprocess.Popen([sys.executable, "-m", "kanbench", *command(spec, tmp_path / "r.json")])
    assert eventually(lambda: busy(runs()))
    process.suspend()
    try:
        assert started.wait(SECONDS) == 0
    finally:
        process.resume()
    assert record.read(tmp_path / "r.json")["status"] == "ok"


def test_who_asked_is_gone_so_nothing_is_done(spec, tmp_path, monkeypatch, capsys):
    """The workflow is killed, and its server with it: clients do not start their runs again by themselves."""
    gone = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    monkeypatch.setenv(owner.VARIABLE, owner.current(gone.pid).text)
    monkeypatch.setenv(client.VARIABLE, str(tmp_path / "nothing"))
    arguments = command(spec, tmp_path / "r.json")
    assert client.delegate(arguments) is None, "the workflow lives: this process does the work"
    gone.kill()
    gone.wait()
    assert client.delegate(arguments) == 1
    assert "the workflow that asked for this is gone" in capsys.readouterr().err


def test_the_folder_of_a_killed_server_goes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    script = "import sys, os\nfrom kanbench.process import server\nprint(server.start(), flush=True)\nsys.stdin.read()"
    environment = {name: value for name, value in os.environ.items() if name != client.VARIABLE}

    def starter() -> tuple[subprocess.Popen, Path]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = subprocess.Popen([sys.executable, "-c", script], env=environment, text=True, **pipes)
        return process, Path(process.stdout.readline().strip()).parent

    first, folder = starter()
    assert folder.is_dir()
    (serving,) = psutil.Process(first.pid).children()
    serving.kill()
    first.communicate("")
    assert not folder.exists(), "who started the server removes its folder"
    second, folder = starter()
    (serving,) = psutil.Process(second.pid).children()
    second.kill()
    serving.kill()
    second.wait()
    assert folder.exists()
    third, _ = starter()
    assert not folder.exists(), "the next one removes what two killed processes left"
    third.communicate("")
    assert not list(tmp_path.iterdir())


def test_the_server_ends_with_the_process_that_started_it(tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    folder = tmp_path / "private"
    folder.mkdir()
    serving = subprocess.Popen(
        [sys.executable, "-m", "kanbench", "serve", str(folder / "socket"), "--parent", str(parent.pid)]
    )
    try:
        assert eventually((folder / "socket").exists)
        parent.kill()
        parent.wait()
        assert serving.wait(SECONDS) == 0
        assert not folder.exists()
    finally:
        with contextlib.suppress(ProcessLookupError):
            serving.kill()
