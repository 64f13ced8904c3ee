"""The recorded streams of an outside corpus, judged by its own check.py."""
import os

import pytest

import corpus


@pytest.mark.skipif("UNSTREAM_CORPUS" not in os.environ, reason="UNSTREAM_CORPUS names no corpus of recorded streams")
def test_all_recorded_streams_give_their_bodies_also_byte_by_byte(binary):
    count, differing, judged = corpus.run_corpus(str(binary), os.environ["UNSTREAM_CORPUS"], [1])
    print(f"{count} streams")
    assert count > 0
    assert differing == 0
    assert judged == 0
