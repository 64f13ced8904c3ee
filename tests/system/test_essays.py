"""The promise in its plainest form: answers that take a minute arrive whole."""
import time

import pytest

from support import (MESSAGES, SIMPLE, assert_answer, in_background, question, unique)

WORDS, SECONDS = 2000, 60


@pytest.mark.long
def test_five_concurrent_long_essays_all_arrive_whole(service, provider):
    essay = {"words": WORDS, "seconds": SECONDS}
    models = [provider.script(unique("essay"), essay, repeat=True) for _ in range(5)]
    start = time.monotonic()
    waiting = [in_background(service.post, SIMPLE, question(SIMPLE, model), timeout_s=120)
               for model in models]
    replies = [waiter.result() for waiter in waiting]
    assert time.monotonic() - start > SECONDS - 1
    for model, reply in zip(models, replies):
        assert_answer(reply)
        ideal = provider.answer(MESSAGES, question(MESSAGES, model)).json
        assert reply.json["text"] == ideal["content"][0]["text"]
        assert reply.json["usage"]["output_tokens"] == WORDS
        assert reply.json["stop_reason"] == "end_turn"
