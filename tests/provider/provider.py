#!/usr/bin/env python3
"""A scripted LLM provider on loopback, for tests and for trying things out without a key.

    python3 tests/provider/provider.py --port 0        prints the port it took, serves until killed

It answers POST /v1/chat/completions, /v1/responses and /v1/messages: an SSE stream in the shape of
the real API when the body says "stream": true, else the plain JSON body that assembling this stream
must give.  The text is a function of model and prompt, so the same question has the same answer,
id included.  The model "essay" writes 2,000 words in 60 s; any other model 12 words at once.

Beside generations there are GET /v1/models (Anthropic's shape with an anthropic-version), GET
/v1/models/ID (404 where ID begins with "no-"), POST /v1/messages/count_tokens, POST /v1/embeddings
and whatever else is below /v1/batches.  Scripts and hits know them by the model of the body or the
path, else by their whole target ("/v1/models?limit=2").

    POST /control/script    {"model": NAME or "prompt": TEXT, "steps": [STEP, ...], "repeat": false}
    POST /control/release   {"hold": NAME}          let the calls held under this name go on
    GET  /control/hits      {"total": N, "models": {NAME: {"count": N, "requests": [...]}}}
    POST /control/reset     forget scripts and hits, let go of everything held

Each call for the model (or with the prompt) takes the next STEP; when none is left, calls are
answered as if there had been no script ("repeat": true goes on with the last step instead).
Members of a STEP, all optional (POSITION is "head", or the number of words sent before):

    words, seconds          stream this many words over this time
    text                    stream this text instead, split at its blanks
    status, headers, body   answer this instead of a stream; a body that is not a string is JSON.
                            headers alone are added to those of the stream
    pause_s, pause_at       stop for a while at a POSITION (default 1)
    hold, hold_at           stop at a POSITION (default 1) until this name is released
    ping_every_s            pings (comments where the API has none) while paused or held
    error, error_at         send this error object as the API does in a stream, and end
    cut_at, cut             end at this byte of the body: "close" the connection (default),
                            "reset" it, or "end" the body as if it were complete
    replay                  send the bytes of this .sse file
    raw                     send this text
    chunk                   send the body in pieces of this many bytes; of what is no stream: chunked
    plain                   answer JSON although a stream was asked for
"""
import argparse
import asyncio
import base64
import hashlib
import json
import random
import socket
import struct
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

CREATED = 1_760_000_000
STEP_MEMBERS = {"words", "seconds", "text", "status", "headers", "body", "pause_s", "pause_at",
                "hold", "hold_at", "ping_every_s", "error", "error_at", "cut_at", "cut", "replay",
                "raw", "chunk", "plain"}
VOCABULARY = (
    "a the of and river winter paper small bright engine letter window quiet harbour stone green "
    "naïve café Zürich 東京 Привет 🦊 \"quoted\" back\\slash tab\there line\nbreak <tag> & half "
    "turn carry answer between without morning kettle signal orchard copper ladder thread").split(" ")


# ---- what one call asks for, and what it is answered with

@dataclass
class Call:
    api: str
    request: dict
    step: dict
    name: str = ""
    words: list = field(default_factory=list)
    cut_short: bool = False

    @property
    def model(self):
        return self.name or str(self.request.get("model", ""))

    @property
    def ident(self):
        question = json.dumps([self.api, self.model, prompt_of(self.request)])
        return hashlib.sha256(question.encode()).hexdigest()[:24]

    @property
    def choices(self):
        return self.request.get("n") or 1

    @property
    def input_tokens(self):
        return max(1, len(prompt_of(self.request).split()))

    def write(self):
        """Decides on the words; max_tokens and its namesakes cut them short."""
        if "text" in self.step:
            words = self.step["text"].split(" ")
        else:
            count = self.step.get("words", 2000 if self.model == "essay" else 12)
            dice = random.Random(zlib.crc32(f"{self.model}\n{prompt_of(self.request)}".encode()))
            words = [dice.choice(VOCABULARY) for _ in range(count)]
        limit = (self.request.get("max_completion_tokens") or self.request.get("max_output_tokens")
                 or self.request.get("max_tokens") or len(words))
        self.cut_short = limit < len(words)
        self.words = [word if i == 0 else " " + word for i, word in enumerate(words[:limit])]
        return self

    @property
    def text(self):
        return "".join(self.words)


def prompt_of(request):
    """All text of the conversation, as far as a scripted provider cares."""
    turns = request.get("messages", request.get("input", ""))
    if isinstance(turns, str):
        return turns
    texts = []
    for turn in turns if isinstance(turns, list) else []:
        content = turn.get("content", "") if isinstance(turn, dict) else ""
        parts = [{"text": content}] if isinstance(content, str) else content
        texts += [part.get("text", "") for part in parts if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))


def dumps(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def sse(value, name=None):
    return (f"event: {name}\n" if name else "").encode() + b"data: " + dumps(value).encode() + b"\n\n"


# ---- Chat Completions.  Events are pairs (bytes, number of the word it carries or None).

def chat_usage(call):
    prompt, completion = call.input_tokens, len(call.words) * call.choices
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0,
                                          "accepted_prediction_tokens": 0,
                                          "rejected_prediction_tokens": 0}}


def chat_finish(call):
    return "length" if call.cut_short else "stop"


def chat_base(call, kind):
    return {"id": "chatcmpl-" + call.ident, "object": kind, "created": CREATED, "model": call.model,
            "service_tier": "default", "system_fingerprint": "fp_5c817ed11e"}


def chat_include_usage(call):
    return bool((call.request.get("stream_options") or {}).get("include_usage"))


def chat_body(call):
    message = {"role": "assistant", "content": call.text, "refusal": None}
    choices = [{"index": index, "message": message, "logprobs": None, "finish_reason": chat_finish(call)}
               for index in range(call.choices)]
    return {**chat_base(call, "chat.completion"), "choices": choices, "usage": chat_usage(call)}


def chat_events(call):
    include_usage = chat_include_usage(call)

    def chunk(index, delta, finish=None):
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage = {"usage": None} if include_usage else {}
        return sse({**chat_base(call, "chat.completion.chunk"), "choices": [choice], **usage,
                    "obfuscation": "xK3"})

    every = range(call.choices)
    for index in every:
        yield chunk(index, {"role": "assistant", "content": "", "refusal": None}), None
    for number, word in enumerate(call.words):
        yield b"".join(chunk(index, {"content": word}) for index in every), number
    for index in every:
        yield chunk(index, {}, chat_finish(call)), None
    if include_usage:
        yield sse({**chat_base(call, "chat.completion.chunk"), "choices": [],
                   "usage": chat_usage(call), "obfuscation": ""}), None
    yield b"data: [DONE]\n\n", None


def chat_error_event(error):
    return sse({"error": error})


# ---- Responses

def response_object(call, status, output, usage):
    incomplete = {"reason": "max_output_tokens"} if status == "incomplete" else None
    return {"id": "resp_" + call.ident, "object": "response", "created_at": CREATED, "status": status,
            "background": False, "error": None, "incomplete_details": incomplete,
            "instructions": call.request.get("instructions"),
            "max_output_tokens": call.request.get("max_output_tokens"), "model": call.model,
            "output": output, "parallel_tool_calls": True, "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None}, "store": True, "temperature": 1.0,
            "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "top_p": 1.0,
            "truncation": "disabled", "usage": usage, "user": None, "metadata": {}}


def responses_final(call):
    status = "incomplete" if call.cut_short else "completed"
    count = len(call.words)
    usage = {"input_tokens": call.input_tokens, "input_tokens_details": {"cached_tokens": 0},
             "output_tokens": count, "output_tokens_details": {"reasoning_tokens": 0},
             "total_tokens": call.input_tokens + count}
    return response_object(call, status, [responses_item(call, status, [responses_part(call.text)])], usage)


def responses_item(call, status, content):
    return {"id": "msg_" + call.ident, "type": "message", "status": status, "content": content,
            "role": "assistant"}


def responses_part(text):
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def responses_events(call):
    sequence = iter(range(1_000_000))
    place = {"item_id": "msg_" + call.ident, "output_index": 0, "content_index": 0}

    def event(kind, **members):
        return sse({"type": kind, "sequence_number": next(sequence), **members}, kind)

    final = responses_final(call)
    begun = response_object(call, "in_progress", [], None)
    yield event("response.created", response=begun), None
    yield event("response.in_progress", response=begun), None
    yield event("response.output_item.added", output_index=0,
                item=responses_item(call, "in_progress", [])), None
    yield event("response.content_part.added", **place, part=responses_part("")), None
    for number, word in enumerate(call.words):
        yield event("response.output_text.delta", **place, delta=word, logprobs=[], obfuscation="q"), number
    yield event("response.output_text.done", **place, text=call.text, logprobs=[]), None
    yield event("response.content_part.done", **place, part=responses_part(call.text)), None
    yield event("response.output_item.done", output_index=0, item=final["output"][0]), None
    yield event("response." + final["status"], response=final), None


def responses_error_event(error):
    return sse({"type": "error", "sequence_number": 4, "code": error.get("code", error.get("type")),
                "message": error.get("message"), "param": error.get("param")}, "error")


# ---- Messages

def message_object(call, content, stop_reason, output_tokens):
    return {"model": call.model, "id": "msg_" + call.ident, "type": "message", "role": "assistant",
            "content": content, "stop_reason": stop_reason, "stop_sequence": None,
            "usage": {"input_tokens": call.input_tokens, "cache_creation_input_tokens": 0,
                      "cache_read_input_tokens": 0, "output_tokens": output_tokens,
                      "service_tier": "standard"}}


def messages_stop_reason(call):
    return "max_tokens" if call.cut_short else "end_turn"


def messages_body(call):
    return message_object(call, [{"type": "text", "text": call.text}], messages_stop_reason(call),
                          len(call.words))


def messages_events(call):
    def event(kind, **members):
        return sse({"type": kind, **members}, kind)

    yield event("message_start", message=message_object(call, [], None, 1)), None
    yield event("content_block_start", index=0, content_block={"type": "text", "text": ""}), None
    yield event("ping"), None
    for number, word in enumerate(call.words):
        yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": word}), number
    yield event("content_block_stop", index=0), None
    yield event("message_delta", delta={"stop_reason": messages_stop_reason(call), "stop_sequence": None},
                usage={"output_tokens": len(call.words)}), None
    yield event("message_stop"), None


def messages_error_event(error):
    return sse({"type": "error", "error": error}, "error")


@dataclass(frozen=True)
class Api:
    body: object
    events: object
    error_event: object
    ping: bytes
    request_id: str
    rate_limit: str


OPENAI_EXTRAS = {"ping": b": ping\n\n", "request_id": "x-request-id",
                 "rate_limit": "x-ratelimit-remaining-requests"}
APIS = {
    "/v1/chat/completions": Api(chat_body, chat_events, chat_error_event, **OPENAI_EXTRAS),
    "/v1/responses": Api(responses_final, responses_events, responses_error_event, **OPENAI_EXTRAS),
    "/v1/messages": Api(messages_body, messages_events, messages_error_event,
                        ping=b'event: ping\ndata: {"type": "ping"}\n\n', request_id="request-id",
                        rate_limit="anthropic-ratelimit-requests-remaining"),
}


# ---- what is no generation

def model_object(name, anthropic):
    if anthropic:
        return {"type": "model", "id": name, "display_name": name.title(), "created_at": "2025-10-09T00:00:00Z"}
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "scripted"}


def models_body(anthropic):
    models = [model_object(name, anthropic) for name in ("small", "org/large")]
    if anthropic:
        return {"data": models, "has_more": False, "first_id": "small", "last_id": "org/large"}
    return {"object": "list", "data": models}


def embeddings_body(call):
    texts = call.request.get("input", "")
    texts = [texts] if isinstance(texts, str) else texts
    vector = [0.25, -1e-7, 1.0]
    if call.request.get("encoding_format") == "base64":
        vector = base64.b64encode(struct.pack("<3f", *vector)).decode()
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, _ in enumerate(texts)]
    tokens = sum(len(str(text).split()) for text in texts)
    return {"object": "list", "data": data, "model": call.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


def other_answer(method, path, call, anthropic):
    """Status and body of what is no generation; None: there is nothing."""
    if (method, path) == ("GET", "/v1/models"):
        return 200, models_body(anthropic)
    if method == "GET" and path.startswith("/v1/models/"):
        if call.model.startswith("no-"):
            error = {"message": f"The model '{call.model}' does not exist", "type": "invalid_request_error",
                     "param": "model", "code": "model_not_found"}
            return 404, {"type": "error", "error": error} if anthropic else {"error": error}
        return 200, model_object(call.model, anthropic)
    if (method, path) == ("POST", "/v1/messages/count_tokens"):
        return 200, {"input_tokens": call.input_tokens}
    if (method, path) == ("POST", "/v1/embeddings"):
        return 200, embeddings_body(call)
    if path.startswith("/v1/batches"):
        return 201 if method == "POST" else 200, {"object": "batch", "id": path.rpartition("/")[2]}
    return None


# ---- HTTP

class Cut(Exception):
    """The script ends the body here."""


class BadRequest(Exception):
    pass


@dataclass
class Request:
    method: str
    target: str
    version: str
    headers: list
    body: bytes

    @property
    def path(self):
        return self.target.partition("?")[0]

    def header(self, name):
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def keep_alive(self):
        wish = self.header("connection").lower()
        return "close" not in wish if self.version == "HTTP/1.1" else "keep-alive" in wish


async def read_request(reader):
    """The next request of a connection; None when there is none."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, version = first.split(" ")
    headers = [[name, value.strip()] for name, _, value in (line.partition(":") for line in lines)]
    request = Request(method, target, version, headers, b"")
    if request.header("transfer-encoding").lower() == "chunked":
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            request.body += (await reader.readexactly(size + 2))[:-2]
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
    else:
        request.body = await reader.readexactly(int(request.header("content-length") or 0))
    return request


class Body:
    """A streamed answer: chunked on HTTP/1.1, counted so that a script can cut it at a byte."""

    def __init__(self, writer, step, chunked):
        self.writer, self.step, self.chunked = writer, step, chunked
        self.sent = 0

    def send_head(self, status, headers, length=None):
        framing = ("Transfer-Encoding: chunked" if self.chunked else
                   "Connection: close" if length is None else f"Content-Length: {length}")
        lines = [f"HTTP/1.1 {status} Scripted", framing, *(f"{k}: {v}" for k, v in headers.items())]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def send(self, data):
        cut_at = self.step.get("cut_at")
        stop = cut_at is not None and self.sent + len(data) >= cut_at
        if stop:
            data = data[:cut_at - self.sent]
        size = self.step.get("chunk") or len(data) or 1
        for start in range(0, len(data), size):
            self.piece(data[start:start + size])
            await self.writer.drain()
            if size < len(data):
                await asyncio.sleep(0)
        self.sent += len(data)
        if stop:
            raise Cut

    def piece(self, data):
        if self.chunked:
            data = b"%x\r\n%s\r\n" % (len(data), data)
        self.writer.write(data)

    def end(self):
        if self.chunked:
            self.writer.write(b"0\r\n\r\n")


class Provider:
    def __init__(self):
        self.scripts = {}
        self.hits = {}
        self.total = 0
        self.holds = {}

    async def connection(self, reader, writer):
        try:
            while True:
                request = await read_request(reader)
                if not await self.serve(request, reader, writer):
                    break
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is done with this connection
        finally:
            writer.close()

    async def serve(self, request, reader, writer):
        """Answers one request.  False: the connection must end."""
        if request.path.startswith("/control/"):
            return self.control(request, writer)
        api = APIS.get(request.path) if request.method == "POST" else None
        try:
            call = self.take(request, api)
        except ValueError as error:
            return self.refuse(request, writer, 400, f"the body is not usable JSON: {error}")
        other = None if api else other_answer(request.method, request.path, call,
                                              request.header("anthropic-version"))
        if not api and not other:
            return self.refuse(request, writer, 404, f"no such route: {request.method} {request.path}")
        record = self.record(request, call)
        try:
            if other:
                return await self.answer_other(call, other, request, reader, writer, record)
            return await self.answer(call, api, request, reader, writer, record)
        except ConnectionError:
            record["state"] = "aborted"
            raise

    def take(self, request, api):
        body = json.loads(request.body) if api or request.body else {}
        if not isinstance(body, dict):
            raise ValueError("not an object")
        name = ""
        if not api and "model" not in body:
            _, _, below = request.target.partition("/v1/models/")
            name = unquote(below.partition("?")[0]) or request.target
        script = (self.scripts.get(name or str(body.get("model"))) or
                  self.scripts.get(prompt_of(body) or None))
        step = {}
        if script and script["steps"]:
            last = len(script["steps"]) == 1 and script["repeat"]
            step = script["steps"][0] if last else script["steps"].pop(0)
        return Call(request.path, body, step, name).write()

    def record(self, request, call):
        self.total += 1
        entry = self.hits.setdefault(call.model, {"count": 0, "requests": []})
        entry["count"] += 1
        record = {"at_s": asyncio.get_running_loop().time(), "method": request.method,
                  "target": request.target, "headers": request.headers,
                  "body_base64": base64.b64encode(request.body).decode(), "state": "running"}
        entry["requests"].append(record)
        return record

    # ---- answers

    async def answer(self, call, api, request, reader, writer, record):
        step = call.step
        headers = {api.request_id: "req_" + call.ident, api.rate_limit: "99", **step.get("headers", {})}
        await self.stops(call, api, "head", reader, record, None)
        stream = call.request.get("stream") is True and not step.get("plain")
        if "status" in step or "body" in step:
            body = step.get("body", "")
            data = (body if isinstance(body, str) else dumps(body)).encode()
            self.reply(request, writer, step.get("status", 200), data, headers)
        elif not stream and not {"raw", "replay"} & step.keys():
            self.reply(request, writer, 200, dumps(api.body(call)).encode(), headers)
        else:
            return await self.stream(call, api, headers, request, reader, writer, record)
        record["state"] = "done"
        return request.keep_alive

    async def answer_other(self, call, other, request, reader, writer, record):
        """What is no generation: counted, or in chunks, perhaps cut."""
        step = call.step
        anthropic = request.header("anthropic-version") or request.path.startswith("/v1/messages/")
        await self.stops(call, None, "head", reader, record, None)
        value = step.get("body", other[1])
        data = (value if isinstance(value, str) else dumps(value)).encode()
        body = Body(writer, step, "chunk" in step)
        body.send_head(step.get("status", other[0]), {
            "Content-Type": "application/json", "request-id" if anthropic else "x-request-id": "req_" + call.ident,
            "x-ratelimit-remaining-requests": "99", **step.get("headers", {})}, len(data))
        try:
            await body.send(data)
        except Cut:
            record["state"] = "cut"
            return False
        body.end()
        record["state"] = "done"
        return request.keep_alive

    async def stream(self, call, api, headers, request, reader, writer, record):
        body = Body(writer, call.step, request.version == "HTTP/1.1")
        body.send_head(200, {"Content-Type": "text/event-stream; charset=utf-8",
                             "Cache-Control": "no-cache", **headers})
        keep = body.chunked and request.keep_alive
        record["state"] = "streaming"
        try:
            await self.play(call, api, body, reader, record)
        except Cut:
            record["state"] = "cut"
            how = call.step.get("cut", "close")
            if how == "reset":
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
            if how != "end":
                return False
        else:
            record["state"] = "done"
        body.end()
        return keep

    async def play(self, call, api, body, reader, record):
        step = call.step
        if "replay" in step:
            return await body.send(Path(step["replay"]).read_bytes())
        if "raw" in step:
            return await body.send(step["raw"].encode())
        clock = asyncio.get_running_loop().time
        start = clock()
        seconds = step.get("seconds", 60 if call.model == "essay" else 0)
        for data, word in api.events(call):
            if word is not None:
                if "error" in step and word == step.get("error_at", 1):
                    return await body.send(api.error_event(step["error"]))
                await self.stops(call, api, word, reader, record, body)
                due = start + seconds * word / len(call.words)
                await self.sleep(due - clock(), reader)
            await body.send(data)

    async def stops(self, call, api, position, reader, record, body):
        """The pause and the hold that a script asks for at this position."""
        step = call.step
        waits = []
        if "pause_s" in step and step.get("pause_at", 1) == position:
            waits.append(asyncio.sleep(step["pause_s"]))
        if "hold" in step and step.get("hold_at", 1) == position:
            waits.append(self.holds.setdefault(step["hold"], asyncio.Event()).wait())
        for wait in waits:
            state, record["state"] = record["state"], "held"
            task = asyncio.ensure_future(wait)
            beat = step.get("ping_every_s", 0.05)
            try:
                while not (await asyncio.wait([task], timeout=beat))[0]:
                    watch(reader)
                    if body and "ping_every_s" in step:
                        await body.send(api.ping)
            finally:
                task.cancel()
            record["state"] = state

    @staticmethod
    async def sleep(seconds, reader):
        while seconds > 0:
            await asyncio.sleep(min(seconds, 0.05))
            seconds -= 0.05
            watch(reader)

    def refuse(self, request, writer, status, message):
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
        body = {"type": "error", "error": error} if request.path == "/v1/messages" else {"error": error}
        return self.reply(request, writer, status, dumps(body).encode(), {})

    @staticmethod
    def reply(request, writer, status, data, headers):
        head = {"Content-Type": "application/json", "Content-Length": len(data),
                "Connection": "keep-alive" if request.keep_alive else "close"}
        for name, value in headers.items():
            head = {k: v for k, v in head.items() if k.lower() != name.lower()} | {name: value}
        lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in head.items())]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
        return request.keep_alive

    # ---- control

    def control(self, request, writer):
        commands = {("POST", "script"): self.control_script, ("POST", "release"): self.control_release,
                    ("GET", "hits"): lambda _: {"total": self.total, "models": self.hits},
                    ("POST", "reset"): self.control_reset}
        command = commands.get((request.method, request.path.removeprefix("/control/")))
        try:
            if not command:
                raise BadRequest("no such control route")
            result = command(json.loads(request.body or b"{}"))
        except (BadRequest, ValueError) as error:
            return self.refuse(request, writer, 400, str(error))
        return self.reply(request, writer, 200, dumps(result or {}).encode(), {})

    def control_script(self, order):
        names = [order[key] for key in ("model", "prompt") if key in order]
        if len(names) != 1 or not isinstance(order.get("steps"), list):
            raise BadRequest('a script needs "steps" and either "model" or "prompt"')
        for step in order["steps"]:
            if unknown := step.keys() - STEP_MEMBERS:
                raise BadRequest(f"unknown members of a step: {', '.join(sorted(unknown))}")
        self.scripts[names[0]] = {"steps": list(order["steps"]), "repeat": order.get("repeat", False)}

    def control_release(self, order):
        self.holds.setdefault(order.get("hold"), asyncio.Event()).set()

    def control_reset(self, _):
        for hold in self.holds.values():
            hold.set()
        self.scripts, self.hits, self.holds, self.total = {}, {}, {}, 0


def watch(reader):
    """Notices a client that left while nothing is written to it."""
    if reader.at_eof():
        raise ConnectionResetError("the client left")


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    options = parser.parse_args()
    server = await asyncio.start_server(Provider().connection, "127.0.0.1", options.port,
                                        limit=1 << 26, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(0)
