"""What a Dockerfile does, without an engine: its COPY and RUN lines in a clean tree, then a look at what CMD starts.

    python tests/docker/install.py api
    python tests/docker/install.py worker            some minutes: torch is installed anew
    python tests/docker/install.py worker --index ''       with another index for torch than the CPU build's

Differences from the real thing: this machine's Python instead of the base image's; no user is made, nothing is
read-only; paths such as /opt/inpaint lie below the tree.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """(instruction, rest) in order, continuation lines joined, of the first stage."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    stage = [(line[0], line[1]) for line in lines]
    return stage[: [number for number, (word, _) in enumerate(stage) if word == "FROM"][1]]


def copy(context: Path, work: Path, rest: str) -> None:
    """COPY, from what .dockerignore lets into the context."""
    *sources, target = rest.split()
    for source in sources:
        origin, to = context / source, work / target
        if origin.is_dir():
            shutil.copytree(origin, to)
        else:
            shutil.copy(origin, to if target != "./" else work)


def make_context(folder: Path) -> Path:
    """What git knows, less what .dockerignore leaves out."""
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    archive = subprocess.run(["git", "archive", "HEAD", *allowed], cwd=ROOT, check=True, capture_output=True).stdout
    folder.mkdir()
    subprocess.run(["tar", "-x"], input=archive, cwd=folder, check=True)
    return folder


def install(image: str, tree: Path, arguments: dict[str, str]) -> Path:
    """Do the build stage below `tree`; where the virtual environment lies."""
    context, work, environment = make_context(tree / "context"), tree, {"PATH": os.environ["PATH"], **arguments}
    home = tree / "opt/inpaint"
    for word, rest in instructions(ROOT / f"docker/{image}.Dockerfile"):
        started = time.monotonic()
        if word == "WORKDIR":
            work = tree / rest.lstrip("/")
            work.mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            copy(context, work, rest)
        elif word == "ENV":
            environment |= dict(part.split("=", 1) for part in shlex.split(rest))
        elif word == "ARG":
            name, _, value = rest.partition("=")
            environment.setdefault(name, value)
        elif word == "RUN":
            command = rest.replace("/opt/inpaint", str(home)).replace("python -m venv", f"{sys.executable} -m venv")
            subprocess.run(["sh", "-ec", command], cwd=work, env=environment, check=True)
            print(f"{time.monotonic() - started:6.1f} s  RUN {rest[:90]}", flush=True)
    shutil.rmtree(tree / "src")  # the final stage takes the environment alone
    return home


def look(image: str, home: Path, data: Path) -> None:
    """Start what CMD starts, far enough to see that everything is there."""
    environment = {"PATH": f"{home}/bin:/usr/bin:/bin", "DATA_DIR": str(data), "HOME": str(data), "LOG_FORMAT": "json"}
    data.mkdir()
    size = sum(path.stat().st_size for path in home.rglob("*") if path.is_file() and not path.is_symlink())
    print(f"{size / 2**20:.0f} MiB installed")
    code = {
        "api": "import app.main; app.main.create_app(); from models.catalog import Catalog; print(Catalog().names())",
        "worker": "import worker.tasks, worker.networks as n; from models.catalog import Catalog;"
        "networks = n.Networks(Catalog()); networks.preload(); print(networks.loaded(), networks.device)",
    }[image]
    subprocess.run([str(home / "bin/python"), "-c", code], env=environment, cwd=data, check=True)
    wrong = {"api": ["api"], "worker": ["worker", "inference", "--check"]}[image]
    answer = subprocess.run(
        ["inpaint", *wrong], env={**environment, "HOST": "0.0.0.0"}, cwd=data, capture_output=True, text=True
    )
    print(
        f"`inpaint {' '.join(wrong)}` without keys and broker: exit {answer.returncode}: {answer.stderr.strip()[-200:]}"
    )
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", choices=["api", "worker"])
    parser.add_argument("--index", help="of torch for the worker; default: the one in the Dockerfile, for CPUs")
    options = parser.parse_args()
    arguments = {"DEVICE": "cpu"}
    if options.index is not None:
        arguments |= {"CPU_INDEX": options.index} if options.index else {"DEVICE": "default"}
    with tempfile.TemporaryDirectory(prefix="inpaint-image-") as folder:
        home = install(options.image, Path(folder), arguments)
        look(options.image, home, Path(folder, "data"))


if __name__ == "__main__":
    main()
