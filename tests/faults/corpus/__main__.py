"""Sends the corpus and prints a table: what was sent, the status, and the sentence."""

import json
import tempfile
from pathlib import Path

from tests.faults.api import serving
from tests.faults.corpus import all_cases


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="inpaint-corpus-") as folder, serving(Path(folder)) as api:
        for case in all_cases():
            answer = api.send(case)
            problem = answer.headers.get("content-type", "").endswith("problem+json") and answer.body
            sentence = json.loads(answer.body)["detail"] if problem else answer.headers.get("content-type", "")
            mark = " " if answer.status in case.statuses else "!"
            print(f"{mark} {answer.status} {answer.seconds * 1000:6.0f} ms  {case.name}: {sentence}", flush=True)
        print(f"API, most memory: {api.peak_memory()} MiB")


if __name__ == "__main__":
    main()
