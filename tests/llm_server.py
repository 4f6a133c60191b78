"""An OpenAI-compatible server on loopback: it rewrites consults by rule, and misbehaves on demand.

python -m tests.llm_server --port 8124      # OPENAI_BASE_URL=http://127.0.0.1:8124/v1

The rewriter is a rule and no model: the title and the sentences that ask become the question, the others the patient
information, word for word; where none asks, the question asks about the title. It serves whoever wants to see the whole
path without a language model; it shows nothing of a model's quality.
"""

import argparse
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "rule-based"
CONSULT = re.compile(r"<상담>\n(.*?)\n</상담>", re.DOTALL)
GREETS = re.compile(r"^(?:안녕하세요|감사합니다|고맙습니다|수고하세요|(?:빠른 )?(?:답변|상담|도움) 부탁\S*)[.!?~ ]*$")
ASKS = re.compile(r"\?|까요|(?<=[가-힣])나요|[는은을한]가요|인지|는지|궁금|알려|알고 싶|될까|되나|부탁")

SLOW_SECONDS = 2.0  # what `slow` takes; a test's client gives up before

# What the model says instead of the rewrite. {json} is the rewrite, {question} and {information} are its parts.
SAYS = {
    "prose": "네, 정리했습니다.\n{json}\n도움이 되셨기를 바랍니다.",
    "fences": "```json\n{json}\n```",
    "two_objects": "{json}\n{json}",
    "wrong_keys": '{{"질문": "무엇인가요?", "정보": ""}}',
    "number_instead_of_text": '{{"question": "무엇인가요?", "patient_information": 3}}',
    "not_json": "환자는 두통을 호소하고 있습니다.",
    "empty": "",
    "empty_question": '{{"question": "", "patient_information": "없음"}}',
    "english": '{{"question": "Why does my head hurt so much in the morning?", "patient_information": ""}}',
    "control_token": '{{"question": "왜 그런가요?<end_of_turn>", "patient_information": ""}}',
    "refusal_in_words": "죄송하지만 의료 상담은 도와드릴 수 없습니다.",
}


class LlmServer:
    """The server while it runs. `misbehave` maps words of a consult (or "" for all) to what goes wrong with its first
    request, its second, and so on; `*` as the last one goes on for ever.

    Attributes:
        asked: the consult of every request to /v1/chat/completions, in order of arrival.
        bodies: their whole JSON bodies.
        most_in_flight: the largest number of requests that were being answered at once.
    """

    def __init__(self, port: int, misbehave: Mapping[str, Sequence[str]], seconds: float, takes_schema: bool) -> None:
        self.misbehave, self.seconds, self.takes_schema = misbehave, seconds, takes_schema
        self.asked: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.most_in_flight = self.in_flight = 0
        self.lock = threading.Lock()
        self.http = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def fault(self, consult: str) -> str | None:
        """What is to go wrong with this request, which is the consult's latest."""
        for words, faults in self.misbehave.items():
            if words in consult:
                at = sum(words in asked for asked in self.asked) - 1
                if faults[-1] == "*":
                    at = min(at, len(faults) - 2)
                return faults[at] if at < len(faults) else None
        return None


@contextmanager
def llm_server(
    misbehave: Mapping[str, Sequence[str]] | None = None,
    *,
    port: int = 0,
    seconds: float = 0.0,
    takes_schema: bool = True,
) -> Iterator[LlmServer]:
    """A server on a free port (or `port`), each of whose answers takes `seconds`, until the block is left."""
    server = LlmServer(port, misbehave or {}, seconds, takes_schema)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def rewrite(consult: str) -> dict[str, str]:
    """The title and what asks, and the other sentences but greetings. Where none asks, the title is asked about, or the
    first sentence where there is no title.
    """
    title, _, body = consult.partition("\n\n") if "\n\n" in consult else ("", "", consult)
    parts = [title, *re.split(r"(?<=[.?!])\s+|\n+", body)]
    sentences = [part.strip() for part in parts if part.strip() and not GREETS.match(part.strip())] or [consult.strip()]
    asking = [sentence for sentence in sentences if ASKS.search(sentence)]
    if not asking:
        asking = [f"'{sentences[0].rstrip(' .!~')}'에 대해 알고 싶습니다."]
        sentences = sentences[1:]
    elif title == sentences[0] and title not in asking:
        asking.insert(0, title)
    telling = [sentence for sentence in sentences if sentence not in asking]
    return {"question": " ".join(map(ended, asking)), "patient_information": " ".join(telling)}


def ended(sentence: str) -> str:
    return sentence if sentence[-1] in ".?!~" else f"{sentence}."


def _handler(server: LlmServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            consult = CONSULT.findall(body["messages"][-1]["content"])[-1]
            with server.lock:
                server.asked.append(consult)
                server.bodies.append(body)
                server.keys.append(self.headers["Authorization"])
                server.in_flight += 1
                server.most_in_flight = max(server.most_in_flight, server.in_flight)
                fault = server.fault(consult)
            try:
                time.sleep(server.seconds)
                self.respond(fault, consult, body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client gave up waiting
            finally:
                with server.lock:
                    server.in_flight -= 1

        def respond(self, fault: str | None, consult: str, body: dict[str, Any]) -> None:
            if body.get("response_format") and not server.takes_schema:
                return self.refuse(400, "response_format is not supported")
            match fault:
                case "429":
                    return self.refuse(429, "slow down", {"Retry-After": "0.05"})
                case "500" | "503":
                    return self.refuse(int(fault), "out of order", {"retry-after-ms": "1"})
                case "401":
                    return self.refuse(401, "no such key")
                case "404":
                    return self.refuse(404, f"the model {body['model']} does not exist")
                case "400":
                    return self.refuse(400, "unknown parameter: seed")
                case "too_long":
                    return self.refuse(400, "This model's maximum context length is 16 tokens")
                case "redirect":
                    return self.refuse(307, "over there", {"Location": "http://127.0.0.1:9/v1/chat/completions"})
                case "cut":
                    self.close_connection = True
                    self.connection.close()
                    return None
                case "cut_in_the_middle":
                    self.send(200, b'{"id": "x", "choices": [', {"Content-Length": "4000"})
                    self.close_connection = True
                    return None
                case "slow":
                    time.sleep(SLOW_SECONDS)
                case "invalid_body":
                    return self.send(200, b'{"choices": [{"mess')
                case "no_choices":
                    return self.send(200, b'{"object": "error", "message": "overloaded"}')
            return self.complete(fault, consult, body)

        def complete(self, fault: str | None, consult: str, body: dict[str, Any]) -> None:
            found = rewrite(consult)
            reason, refusal = "stop", None
            content: str | None = json.dumps(found, ensure_ascii=False)
            match fault:
                case "truncated":
                    content, reason = str(content)[:40], "length"
                case "refusal":
                    content, refusal = None, "도와드릴 수 없습니다"
                case "invented_number":
                    content = told(found["question"], found["patient_information"] + " 체온 39.4도.")
                case "invented_drug":
                    content = told(found["question"], found["patient_information"] + " 타이레놀 복용 중.")
                case "personal_data":
                    content = told(found["question"], found["patient_information"] + " 연락처 010-9999-8888.")
                case "dropped_value":
                    content = told(found["question"], re.sub(r"[A-Z]{2,} ?\d+", "", found["patient_information"]))
                case str() if fault in SAYS:
                    content = SAYS[fault].format(json=content)
            message = {"role": "assistant", "content": content, "refusal": refusal}
            choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
            completion = {"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": body["model"]}
            self.send(200, json.dumps(completion | {"choices": [choice]}).encode())

        def refuse(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
            self.send(status, json.dumps({"error": {"message": message, "code": status}}).encode(), headers)

        def send(self, status: int, content: bytes, headers: Mapping[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content))}.items():
                self.send_header(name, (headers or {}).get(name, value))
            for name, value in (headers or {}).items():
                if name != "Content-Length":
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet: what was asked stands in the server's attributes."""

    return Handler


def told(question: str, information: str) -> str:
    return json.dumps({"question": question, "patient_information": information}, ensure_ascii=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8124)
    port = parser.parse_args().port
    with llm_server(port=port) as server:
        print(f"OPENAI_BASE_URL={server.url}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print(f"{len(server.asked)} requests, at most {server.most_in_flight} at once")


if __name__ == "__main__":
    main()
