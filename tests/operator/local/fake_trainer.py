"""A trainer that trains nothing and keeps the contract: environment, /progress, exit codes, files.

Plain Python, so that a test of the supervisor takes a second. What it plays is in its environment (the job's
`spec.compute.env`): FAKE_COMPILE_SECONDS, FAKE_STEP_SECONDS, FAKE_SAVE_EVERY, and FAKE_SCRIPT, a JSON object
from `<attempt>.<process>` to what happens there:

    {"at": step, "do": "exit", "code": 40, "message": "…"}     leave with this code
    {"at": step, "do": "kill", "signal": 9}                    die by a signal
    {"at": step, "do": "freeze"}                               answer nobody any more
    {"at": step, "do": "deaf"}                                 go on, ignoring SIGTERM
    {"at": step, "do": "fill"}                                 fill the run's disk to the last byte, leave with 40
"""

import contextlib
import json
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

RUN = Path(os.environ["LATEEN_RUN_DIR"])
JOB = json.loads(Path(os.environ["LATEEN_JOB_FILE"]).read_text())
ATTEMPT = int(os.environ["LATEEN_ATTEMPT"])
PROCESS = int(os.environ["LATEEN_HOST_INDEX"])
HOSTS = int(os.environ["LATEEN_HOSTS_PER_SLICE"])
STEPS = JOB["spec"]["trainer"]["numTrainSteps"]
TOKENS_A_STEP = 1024
STEP_SECONDS = float(os.environ.get("FAKE_STEP_SECONDS", "0.02"))
SAVE_EVERY = int(os.environ.get("FAKE_SAVE_EVERY", "10"))
SCRIPT = json.loads(os.environ.get("FAKE_SCRIPT", "{}")).get(f"{ATTEMPT}.{PROCESS}")
CHECKPOINTS = Path(JOB["spec"]["checkpoint"]["path"])

state = {"phase": "Starting", "since": time.time(), "step": 0, "of": STEPS, "tokens": 0}
told = threading.Event()


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(state).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *arguments):
        pass


def leave(code: int, message: str) -> None:
    outcome = {
        "exitCode": code,
        "message": message,
        "step": state["step"],
        "checkpoint": state.get("lastCheckpoint"),
        "startStep": state.get("startStep"),
        "loss": state.get("loss"),
    }
    Path(os.environ["LATEEN_TERMINATION_LOG"]).write_text(json.dumps(outcome))
    print(message, flush=True)
    os._exit(code)


def latest() -> int | None:
    return max((int(path.name.removeprefix("step-")) for path in CHECKPOINTS.glob("step-*")), default=None)


def save() -> None:
    path = CHECKPOINTS / f"step-{state['step']}"
    if PROCESS == 0:
        CHECKPOINTS.mkdir(parents=True, exist_ok=True)
        path.touch()
    state.update(lastCheckpoint=str(path), lastCheckpointStep=state["step"])


def loss() -> float:
    return 2.0 + 3.0 / (1 + state["step"])


def at(kind: str, process: int) -> Path:
    return RUN / f"{kind}-{ATTEMPT}-{process}"


def write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}-{PROCESS}")
    draft.write_text(text)
    draft.replace(path)


def read(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except FileNotFoundError:
        return None


PEERS = [process for process in range(HOSTS) if process != PROCESS]


def meet() -> None:
    """Waits until all peers are at this step, as the collectives of a real step do."""
    write(at("step", PROCESS), str(state["step"]))
    while not all((read(at("step", peer)) or -1) >= state["step"] or state["step"] == 0 for peer in PEERS):
        time.sleep(0.002)


def watch_peers() -> None:
    """Leaves as a lost peer soon after another process died; a process that leaves in order takes its file away."""
    while True:
        time.sleep(0.02)
        for peer in PEERS:
            pid = read(at("alive", peer))
            try:
                if pid is not None:
                    os.kill(pid, 0)
            except ProcessLookupError:
                leave(44, f"lost process {peer}")


def agreed_to_stop() -> bool:
    """All processes leave at the same step: the one after the one at which the first was told."""
    stop = at("stop", 0)
    if told.is_set() and not stop.exists():
        write(stop, str(state["step"] + 1))
    return stop.exists() and state["step"] >= (read(stop) or 0)


def act(script: dict) -> None:
    match script["do"]:
        case "exit":
            leave(script["code"], script.get("message", "as the script says"))
        case "kill":
            os.kill(os.getpid(), script["signal"])
            time.sleep(10)
        case "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case "fill":
            with contextlib.suppress(OSError), (RUN / "filler").open("wb", buffering=0) as filler:
                while True:
                    filler.write(bytes(4096))
            os._exit(40)


def train() -> None:
    while state["step"] < STEPS:
        meet()
        if SCRIPT and state["step"] == SCRIPT["at"]:
            act(SCRIPT)
        if agreed_to_stop():
            save()
            at("alive", PROCESS).unlink()
            leave(42, f"saved at step {state['step']}")
        time.sleep(STEP_SECONDS)
        state["step"] += 1
        state.update(loss=loss(), since=time.time(), tokens=TOKENS_A_STEP * state["step"], tokensPerSecond=50_000.0)
        if PROCESS == 0:
            with (RUN / "metrics.jsonl").open("a") as file:
                line = {"step": state["step"], "attempt": ATTEMPT, "loss": state["loss"]}
                file.write(json.dumps(line) + "\n")
        if state["step"] % SAVE_EVERY == 0:
            save()


def finish() -> None:
    save()
    if PROCESS == 0:
        summary = {
            "step": STEPS,
            "loss": loss(),
            "validationLoss": 2.25,
            "unigramEntropy": 3.125,
            "sample": "def main():\n\tpass\x1b[2J",
            "samples": [],
            "tokens": TOKENS_A_STEP * STEPS,
        }
        (RUN / "summary.json").write_text(json.dumps(summary))
    write(at("step", PROCESS), str(STEPS))
    at("alive", PROCESS).unlink()
    leave(0, f"done at step {STEPS}")


def main() -> None:
    print(f"attempt {ATTEMPT} process {PROCESS}", flush=True)
    write(at("alive", PROCESS), str(os.getpid()))
    signal.signal(signal.SIGTERM, lambda *arguments: told.set())
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["LATEEN_METRICS_PORT"])), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    deadline = time.monotonic() + 10
    while not all(at("alive", peer).exists() for peer in PEERS) and time.monotonic() < deadline:
        time.sleep(0.01)
    threading.Thread(target=watch_peers, daemon=True).start()
    if (step := latest()) is not None:
        state.update(step=step, lastCheckpoint=str(CHECKPOINTS / f"step-{step}"), lastCheckpointStep=step)
    elif "LATEEN_CHECKPOINT_STEP" in os.environ:
        leave(46, f"no checkpoint, expected step {os.environ['LATEEN_CHECKPOINT_STEP']}")
    state.update(startStep=state["step"], phase="Compiling", tokens=TOKENS_A_STEP * state["step"])
    time.sleep(float(os.environ.get("FAKE_COMPILE_SECONDS", "0.1")))
    state.update(phase="Training", since=time.time())
    train()
    finish()


if __name__ == "__main__":
    main()
