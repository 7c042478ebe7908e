"""Cost of model calls that were abandoned while an answer was written."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from langchain_core.messages import AIMessage, BaseMessage

from serving.pipeline.answer.pack import estimate_tokens
from serving.pipeline.models.connect import ConnectedChat
from serving.pipeline.models.open_calls import OpenCalls
from serving.pipeline.models.prices import usage_of
from serving.pipeline.types import Usage


class AbandonedCalls:
    """Records the usage of abandoned calls: as reported if the answer still comes, else estimated from the text and not priced."""

    def __init__(self, chat: ConnectedChat, messages: Sequence[BaseMessage], record: Callable[[Usage], None]) -> None:
        self._chat = chat
        self._messages = messages
        self._record = record
        self._written: list[str] = []
        self._calls = OpenCalls(on_late=self.discard, on_cut=self._cut)

    def watch(self) -> AbstractContextManager[None]:
        """Watch the calls that are started within it."""
        return self._calls.watch()

    def counted(self, emit: Callable[[str], None] | None) -> Callable[[str], None] | None:
        """`emit`, with the text that passes through it counted."""
        if emit is None:
            return None

        def receive(text: str) -> None:
            self._written.append(text)
            emit(text)

        return receive

    def discard(self, message: object) -> None:
        """Record a message that is not used: it came too late, or is empty."""
        if isinstance(message, AIMessage):
            self._record(usage_of(message, self._chat.source, self._chat.name, self._chat.prices))

    def _cut(self) -> None:
        read = sum(estimate_tokens(str(message.text)) for message in self._messages)
        written = estimate_tokens("".join(self._written))
        usd = self._chat.prices.tokens(self._chat.source.price_model, read, written) or 0.0
        self._record(Usage(self._chat.name, read, written, usd, self._chat.source.simulated, priced=False, estimated=True))
