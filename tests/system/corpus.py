#!/usr/bin/env python3
"""Assembles the recorded streams of an outside corpus with `unstream assemble`.

usage: UNSTREAM_CORPUS=DIR corpus.py PATH/TO/unstream [--chunk N]...

DIR holds streams/<api>/<name>.sse and a judge, check.py OUTDIR, that compares
OUTDIR/<api>/<name>.json or .error.json with what each stream must give.  Every stream is
assembled whole and byte by byte (or with the chunk sizes given): all results must be the same
bytes, and the judge must accept them.  (Split points: tests/unit/test_assemble_streams.c.)
"""
import concurrent.futures
import os
import subprocess
import sys
import tempfile

APIS = {"openai-chat": "chat", "anthropic-messages": "messages", "openai-responses": "responses"}


def assemble(unstream, api, data, chunk=None):
    """The exit code and standard output of one run."""
    command = [unstream, "assemble", api] + (["--chunk", str(chunk)] if chunk else [])
    run = subprocess.run(command, input=data, capture_output=True, check=False)
    if run.returncode not in (0, 3) or run.stderr:
        error = run.stderr.decode(errors="replace")
        raise RuntimeError(f"{' '.join(command)}: exit {run.returncode}\n{error}")
    return run.returncode, run.stdout


def judge_stream(unstream, corpus, out, folder, name, chunks):
    """Write the result for the judge; returns the chunk sizes that gave another one."""
    with open(os.path.join(corpus, "streams", folder, name + ".sse"), "rb") as file:
        data = file.read()
    whole = assemble(unstream, APIS[folder], data)
    suffix = ".json" if whole[0] == 0 else ".error.json"
    with open(os.path.join(out, folder, name + suffix), "wb") as file:
        file.write(whole[1])
    return [chunk for chunk in chunks if assemble(unstream, APIS[folder], data, chunk) != whole]


def run_corpus(unstream, corpus, chunks):
    """Returns (streams, results that depend on the cuts, the judge's exit code)."""
    names = [(folder, name[:-4])
             for folder in sorted(APIS)
             for name in sorted(os.listdir(os.path.join(corpus, "streams", folder)))
             if name.endswith(".sse")]
    differing = 0
    with tempfile.TemporaryDirectory() as out, concurrent.futures.ThreadPoolExecutor(2) as pool:
        for folder in APIS:
            os.mkdir(os.path.join(out, folder))
        jobs = {pool.submit(judge_stream, unstream, corpus, out, folder, name, chunks): name
                for folder, name in names}
        for job in concurrent.futures.as_completed(jobs):
            for chunk in job.result():
                differing += 1
                print(f"FAIL {jobs[job]}: --chunk {chunk} gives another result")
        check = [sys.executable, os.path.join(corpus, "check.py"), out]
        judged = subprocess.run(check, check=False)
    return len(names), differing, judged.returncode


def main():
    corpus = os.environ.get("UNSTREAM_CORPUS")
    if not corpus:
        print("skipped: UNSTREAM_CORPUS names no corpus of recorded streams")
        return 0
    words = sys.argv[1:]
    if not words or words[0].startswith("-"):
        print(__doc__)
        return 64
    chunks = [int(words[i + 1]) for i, word in enumerate(words) if word == "--chunk"] or [1]
    count, differing, judged = run_corpus(words[0], corpus, chunks)
    print(f"{count} streams, cut at {chunks} bytes: {differing} results depend on the cuts")
    return 1 if differing or judged else 0


if __name__ == "__main__":
    sys.exit(main())
