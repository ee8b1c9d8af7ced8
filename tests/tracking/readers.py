"""Trackers' files, read back by the trackers themselves."""

import gzip
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import wandb

from hapens_bench.tracking.naming import describe
from hapens_bench.tracking.sink import RunInfo
from tests.conftest import make_config

ASK_TRACKIO = """
import json, sys, trackio
print(json.dumps({
    run.id: {
        "name": run.name,
        "config": run.config,
        "logs": trackio.SQLiteStorage.get_logs(sys.argv[1], run.name, run_id=run.id),
        "alerts": run.alerts(),
    }
    for run in trackio.Api().runs(sys.argv[1])
}))
"""


def info(folder: Path, seed: int, rows=()) -> RunInfo:
    config = make_config("sampler=dns", "sampler.M=8", f"seed={seed}")
    sweep = {"id": "swept", "keys": ["sampler.M"]}
    described = describe({**config, "sweep": sweep}, folder, rows)
    return replace(described, run_id=f"id{seed}")


def trackio_runs(folder: Path, project: str) -> dict:
    """Return all that Trackio has of a project, read in a separate process."""
    call = [sys.executable, "-c", ASK_TRACKIO, project]
    variables = {**os.environ, "TRACKIO_DIR": str(folder)}
    return json.loads(
        subprocess.run(call, capture_output=True, text=True, env=variables, check=True).stdout
    )


def curve(logs: list[dict], name: str) -> list:
    return [row[name] for row in logs if name in row]


class WandbServer(BaseHTTPRequestHandler):
    """As much of a W&B server as `wandb sync` needs; it keeps what it receives."""

    def do_POST(self):
        body = self._body()
        if self.path.endswith("/file_stream"):
            for name, part in body.get("files", {}).items():
                lines = self.server.lines.setdefault(name, [])
                lines[part["offset"] :] = [json.loads(line) for line in part["content"]]
        if self.path != "/graphql":
            return self._reply({})
        asked = body.get("variables") or {}
        if "upsertBucket" in body["query"]:
            self.server.run |= {key: value for key, value in asked.items() if value is not None}
        project = {"id": "p", "name": asked.get("project"), "entity": {"id": "e", "name": "e"}}
        bucket = {"id": "b", "name": asked.get("name"), "historyLineCount": 0, "project": project}
        place = f"http://127.0.0.1:{self.server.server_port}"
        files = [{"name": name, "uploadUrl": f"{place}/{name}"} for name in asked.get("files", [])]
        artifact = {
            "id": "a",
            "state": "COMMITTED",
            "artifactSequence": {"latestArtifact": {"id": "a"}},
        }
        answer = {
            "upsertBucket": {"bucket": bucket, "inserted": True},
            "createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files},
            "createArtifact": {"artifact": artifact},
            "serverInfo": {"features": []},
        }
        return self._reply({"data": answer})

    def do_PUT(self):
        self.server.files[self.path[1:]] = self._body()
        self._reply({})

    def _body(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            content = gzip.decompress(content)
        try:
            return json.loads(content)
        except ValueError:
            return content

    def _reply(self, value):
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *given):
        pass


def wandb_synced(place: Path) -> dict:
    """Have `wandb sync` upload an offline run to a local server.

    Return what the server received: run, history, summary, table.
    """
    wandb.teardown()  # W&B's process writes the end of a run shortly after `finish` returned
    server = ThreadingHTTPServer(("127.0.0.1", 0), WandbServer)
    server.run, server.lines, server.files = {}, {}, {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    ours = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    variables = {**ours, "WANDB_BASE_URL": address, "WANDB_API_KEY": "a" * 40}
    call = [sys.executable, "-m", "wandb", "sync", "--include-synced", str(place)]
    done = subprocess.run(call, capture_output=True, text=True, env=variables, timeout=60)
    server.shutdown()
    assert done.returncode == 0 and "Finished syncing" in done.stdout + done.stderr, done.stderr
    tables = [
        content for name, content in server.files.items() if name.startswith("media/table/results")
    ]
    assert len(tables) == 1
    return {
        "run": server.run,
        "config": json.loads(server.run["config"]),
        "history": server.lines["wandb-history.jsonl"],
        "summary": server.files["wandb-summary.json"],
        "table": tables[0],
    }
