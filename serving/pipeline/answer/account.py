"""What the calls of one answer cost that nobody waited for."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from langchain_core.messages import AIMessage, BaseMessage

from serving.pipeline.answer.pack import estimate_tokens
from serving.pipeline.models.connect import ConnectedChat
from serving.pipeline.models.open_calls import OpenCalls
from serving.pipeline.models.prices import usage_of
from serving.pipeline.types import Usage


class CallAccount:
    """Tells the cost of calls that were given up: as reported, if the answer still came, else as estimated from the text, not priced."""

    def __init__(self, chat: ConnectedChat, messages: Sequence[BaseMessage], tell: Callable[[Usage], None]) -> None:
        self._chat = chat
        self._messages = messages
        self._tell = tell
        self._written: list[str] = []
        self._calls = OpenCalls(on_late=self.unused, on_cut=self._cut)

    def watch(self) -> AbstractContextManager[None]:
        """Watch the calls that are begun inside."""
        return self._calls.watch()

    def counted(self, emit: Callable[[str], None] | None) -> Callable[[str], None] | None:
        """The receiver of a stream's text, which is counted on its way."""
        if emit is None:
            return None

        def receive(text: str) -> None:
            self._written.append(text)
            emit(text)

        return receive

    def unused(self, message: object) -> None:
        """A message came that is no answer, or too late to be one."""
        if isinstance(message, AIMessage):
            self._tell(usage_of(message, self._chat.source, self._chat.name, self._chat.prices))

    def _cut(self) -> None:
        read = sum(estimate_tokens(str(message.text)) for message in self._messages)
        written = estimate_tokens("".join(self._written))
        usd = self._chat.prices.tokens(self._chat.source.price_model, read, written) or 0.0
        self._tell(Usage(self._chat.name, read, written, usd, self._chat.source.simulated, priced=False, estimated=True))
