"""kill -9 while `sparsemeta train` runs: only steps since the last checkpoint are lost."""

import subprocess
import sys
import textwrap

from tests.lm.runs import assert_same_run

# Forked from a process that has imported everything, so that many kills cost little time.
KILLED_AT_RANDOM = """
    import os, random, signal, sys, time
    from pathlib import Path
    import torch
    from sparsemeta import run
    from sparsemeta.cli import main
    from sparsemeta.lm import training

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    command = ["train", "tiny.toml", "--training.steps", "24", "--training.checkpoint-every", "3"]

    class Gate(run.Progress):
        limit = 99  # where it waits to be killed, however late that comes

        def advance(self, step, status):
            while step >= self.limit:
                signal.pause()

    run.Progress = Gate

    def start(folder, limit=99):
        child = os.fork()
        if child == 0:
            Gate.limit = limit
            os._exit(main([*command, "--run", folder]))
        return child

    def finish(child):
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def lines(log):
        return log.read_text().count("\\n") if log.exists() else 0

    log, checkpoints = Path("killed/log.jsonl"), Path("killed/checkpoints")
    moment, seen, saved = random.Random(0), [], 0
    while len(seen) < 4:
        until = saved + moment.randint(3, 6)
        child = start("killed", until + 2)
        while lines(log) < until:
            time.sleep(0.001)
        time.sleep(moment.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        assert finish(child) == -signal.SIGKILL
        saved = int((run.newest(checkpoints) or Path("step-0")).name[5:])
        assert saved <= lines(log) <= saved + 4
        seen.append(saved)
    assert seen[0] < seen[-1] < 24, seen
    assert finish(start("killed")) == finish(start("whole")) == 0
"""


def test_killed_again_and_again_it_ends_where_it_would_have(project):
    script = project / "kill.py"
    script.write_text(textwrap.dedent(KILLED_AT_RANDOM))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_same_run(project / "killed", project / "whole")
