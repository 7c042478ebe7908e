"""The services that `bench/serve.py` compares with, as one would write them with LangChain; runs in the environment that it makes.

    python bench/serve_peers.py KIND FOLDER MODEL PORT

FOLDER holds texts.jsonl and vectors.npy, MODEL is a folder of sentence-transformers. The answer is an echo, so that only the
retrieval and the serving around it count.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from langchain_classic.retrievers import EnsembleRetriever
from langchain_community.retrievers import BM25Retriever
from langchain_community.vectorstores import FAISS, Chroma
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_huggingface import HuggingFaceEmbeddings
from pydantic import BaseModel

TOP_K, WEIGHTS = 6, [0.4, 0.6]  # passages, and what words and vectors count in their order
PROMPT = "Answer from the passages.\n\n{passages}\n\nQuestion: {question}"


def retriever_of(kind: str, folder: Path, model: str) -> BaseRetriever:
    texts = [json.loads(line) for line in (folder / "texts.jsonl").read_text().splitlines()]
    vectors = np.load(folder / "vectors.npy").tolist()
    embeddings = HuggingFaceEmbeddings(model_name=model, model_kwargs={"device": "cpu"}, encode_kwargs={"normalize_embeddings": True})
    ids = [{"id": number} for number in range(len(texts))]
    if kind.startswith("chroma"):
        store: Any = Chroma("bench", embedding_function=embeddings, collection_metadata={"hnsw:space": "cosine"})
        for start in range(0, len(texts), 1000):
            part = slice(start, start + 1000)
            names = [str(one["id"]) for one in ids[part]]
            store._collection.add(ids=names, embeddings=vectors[part], documents=texts[part], metadatas=ids[part])
    else:
        store = FAISS.from_embeddings(list(zip(texts, vectors, strict=True)), embeddings, metadatas=ids)
    by_vector = store.as_retriever(search_kwargs={"k": TOP_K})
    if kind.endswith("vector"):
        return by_vector
    by_words = BM25Retriever.from_texts(texts, metadatas=ids, k=TOP_K)
    return EnsembleRetriever(retrievers=[by_words, by_vector], weights=WEIGHTS)


class Question(BaseModel):
    question: str


def app_of(retriever: BaseRetriever) -> FastAPI:
    app = FastAPI()

    @app.get("/readyz")
    def ready() -> dict[str, bool]:
        return {"ready": True}

    def answer(question: str) -> dict[str, Any]:
        found: list[Document] = retriever.invoke(question)[:TOP_K]
        passages = "\n\n".join(f"[{number}] {document.page_content}" for number, document in enumerate(found, start=1))
        prompt = PROMPT.format(passages=passages, question=question)
        return {"answer": f"echo of {len(prompt)} characters [1]", "citations": [document.metadata["id"] for document in found]}

    def events(question: str) -> Iterator[str]:
        whole = answer(question)
        for word in whole["answer"].split():
            yield f"data: {json.dumps({'token': word})}\n\n"
        yield f"data: {json.dumps(whole)}\n\n"

    @app.post("/v1/query")
    def query(body: Question) -> dict[str, Any]:
        return answer(body.question)

    @app.post("/v1/query/stream")
    def stream(body: Question) -> StreamingResponse:
        return StreamingResponse(events(body.question), media_type="text/event-stream")

    return app


if __name__ == "__main__":
    _, kind, folder, model, port = sys.argv
    uvicorn.run(app_of(retriever_of(kind, Path(folder), model)), host="127.0.0.1", port=int(port), log_level="warning")
