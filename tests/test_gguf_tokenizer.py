"""The tokenizer in a GGUF file: llama.cpp's own ids are ours, with a SentencePiece file or without."""

import dataclasses
import http.client
import json
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import UserError
from export.artifact import open_artifact
from export.embedder import Embedder, Opening
from export.gguf_session import GgufSession, _options, load_llamacpp
from export.gguf_vocab import CONTROL, NORMAL, UNREACHABLE, _scores, read_vocabulary, scores_from_merges
from export.golden import read_golden
from export.source import Source
from pocketvec import BUNDLED_DATA, STARTER_MODEL


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket, for the server's own tokenizer."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self._path)


@pytest.fixture
def llama_tokenize() -> Iterator[Any]:
    """Opens models with llama.cpp's server as others do and tokenises with what is in the file."""
    servers = []
    with tempfile.TemporaryDirectory(prefix="pv.") as folder:
        socket_path = Path(folder) / "t.sock"

        def tokenize(model: Path, texts: list[str]) -> list[list[int]]:
            llama = load_llamacpp()
            options = _options(llama, model, 256, 1)
            options.hostnames = [str(socket_path)]
            servers.append(llama.Server(options))
            servers[-1].handle_embeddings({"input": [[0]]})  # else its end may wait for ever
            rows = []
            for text in texts:
                connection = UnixConnection(socket_path)
                body = json.dumps({"content": text, "add_special": True, "parse_special": True})
                connection.request("POST", "/tokenize", body, {"Content-Type": "application/json"})
                rows.append(json.loads(connection.getresponse().read())["tokens"])
                connection.close()
            return rows

        yield tokenize
        servers.clear()


def test_llama_cpps_own_tokenizer_gives_our_ids(gguf_artifacts: Path, llama_tokenize: Any) -> None:
    folder = gguf_artifacts / "gguf-fp32-128d"
    golden = read_golden(folder)
    lines = (BUNDLED_DATA / "corpus.jsonl").read_text().splitlines()[::40]
    texts = [one.prompt + one.text for one in golden] + [json.loads(line)["text"] for line in lines]
    texts += ["\t tab", "<bos>spelt out<pad>", "\r\n\x00", "tail   "]
    tokenizer = Embedder.open(folder, Opening(threads=1)).tokenizer
    tokenizer._max_tokens = 10**6  # llama.cpp refuses a text beyond the limit where we cut it
    assert llama_tokenize(folder / "model.gguf", texts) == [tokenizer.ids(text) for text in texts]


def test_llama_cpp_gives_the_golden_vectors_for_text_alone(gguf_artifacts: Path) -> None:
    """The handler of its server's embeddings endpoint, prompt and text in one string."""
    folder = gguf_artifacts / "gguf-fp32-128d"
    session = GgufSession(open_artifact(folder), 1)
    for golden in [one for one in read_golden(folder) if len(one.ids) < 256]:
        answer = session._server.handle_embeddings({"input": golden.prompt + golden.text})
        vector = answer["data"][0]["embedding"]
        assert answer["usage"]["prompt_tokens"] == len(golden.ids)
        assert np.dot(vector, golden.vector) > 0.999999, golden.text


@pytest.mark.parametrize(("row", "refused"), [(0, False), (300, True)])
def test_only_an_added_token_may_have_another_name_than_in_the_sentencepiece_file(
    starter: Source, tmp_path: Path, row: int, refused: bool
) -> None:
    content = json.loads((STARTER_MODEL / "tokenizer.json").read_text())
    (old,) = [text for text, index in content["model"]["vocab"].items() if index == row]
    kinds = {row: CONTROL if row == 0 else NORMAL}
    if refused:
        with pytest.raises(UserError, match=rf"token {row} is '{re.escape(old)}', but '<new>' in tokenizer"):
            _scores(starter, content, {row: "<new>"}, kinds)
    else:
        assert "<new>" not in _scores(starter, content, {row: "<new>"}, kinds)


def test_without_its_sentencepiece_file_the_ranks_of_the_merges_do(starter: Source, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(STARTER_MODEL, bare, ignore=shutil.ignore_patterns("tokenizer.model"))
    with_file, without = read_vocabulary(starter), read_vocabulary(dataclasses.replace(starter, folder=bare))
    assert with_file.tokens == without.tokens
    assert with_file.kinds == without.kinds
    merged = [row for row, score in enumerate(without.scores) if score > UNREACHABLE]
    order = sorted(merged, key=lambda row: -without.scores[row])
    assert order == sorted(merged, key=lambda row: -with_file.scores[row])
    assert len(order) > 15000


@pytest.mark.parametrize(
    ("merges", "message"),
    [
        ([("a", "b"), ("b", "c"), ("ab", "c"), ("a", "bc")], None),
        ([("a", "b"), ("ab", "c"), ("b", "c"), ("a", "bc")], "token 'abc'.*ranks of its merges lie apart"),
        ([("a", "b"), ("b", "c"), ("ab", "c")], "token 'abc'.*parts have no merge rank"),
    ],
)
def test_scores_come_from_ranks_only_where_both_merge_alike(
    merges: list[tuple[str, str]], message: str | None
) -> None:
    tokens = {"a", "b", "c", "ab", "bc", "abc"}
    if message is None:
        assert scores_from_merges(tokens, merges) == {"ab": 0.0, "bc": -1.0, "abc": -2.0}
    else:
        with pytest.raises(UserError, match=message):
            scores_from_merges(tokens, merges)
