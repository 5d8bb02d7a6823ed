"""What the README shows is what happens."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def commands(section: str) -> Iterator[list[str]]:
    """The commands that a section shows, one after the other."""
    text = README.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            yield shlex.split(line, comments=True)


def test_the_example_runs_after_the_readmes_own_commands_and_prints_what_it_says(tmp_path):
    """Also a second time, on the same set; as in a home of one's own, with places that nobody else uses, and more time
    than a program gives a daemon on a machine that is not busy."""
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    said = [line.rpartition("  # ")[2] for line in example.splitlines() if line.lstrip().startswith("print(")]
    assert len(said) == 5
    root = Path(__file__).resolve().parents[2]

    def here(text: str) -> str:
        text = re.sub(r"(/var)?/tmp/(?=utxod|program)|(?=example\.py)", f"{tmp_path}/", text)
        text = re.sub(r"(?<=timeout=|.within=)[\d.]+", "60.0", text)
        return text.replace(".venv/bin", os.path.dirname(sys.executable))

    (tmp_path / "example.py").write_text(here(example))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("UTXOD_", "PYTHON"))}
    options = {"cwd": root, "env": environment | {"HOME": str(tmp_path)}, "text": True, "stderr": subprocess.PIPE}
    serve, *others = [[here(word) for word in command] for command in commands("Use")]
    assert serve[1] == "serve"
    with subprocess.Popen(serve, **options) as daemon:
        try:
            assert any("serving at" in line for line in daemon.stderr)
            printed = []
            for command in others:
                if command[1] == "replay":
                    continue  # needs a node's files
                for _ in range(1 + command[-1].endswith("example.py")):
                    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=250, check=False, **options)
                    assert done.returncode == 0, done.stderr
                    printed.append(done.stdout.splitlines())
            assert printed[-2:] == [said, said]
        finally:
            daemon.terminate()
            daemon.communicate(timeout=60)


def test_every_file_it_names_is_there():
    root = Path(__file__).resolve().parents[2]
    for name in ["bootstrap.py", *re.findall(r"\]\(([^)#:]+)\)", README)]:
        assert (root / name).exists(), name
