"""Answers that handlers of HTTP requests wait for: the controller's own, and the repository's."""

import asyncio
import json
from typing import Any, Final, TypeVar

from fedbus.http_api.responses import REFUSAL_STATUSES, ApiError, refusal_of
from fedbus.runtime.shell import Shell
from fedbus.wire.messages import RequestRefused
from fedbus_controller.requests.http_requests import (
    Answer,
    AskRepository,
    CancelOverHttp,
    GiveUp,
    Question,
    SubmitOverHttp,
)

T = TypeVar("T")
ANSWER_SECONDS: Final = 20.0
"""Time that a client waits for the repository; then it gets 504."""
RETRY_LATER: Final = "10"


class Waiting:
    """A result that is delivered once, in the event loop."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.deliver = self._deliver  # one object, by which the core finds it again

    def _deliver(self, result: object) -> None:
        if not self.answer.done():
            self.answer.set_result(result)


class AwaitedAnswers:
    """Passes requests to the core and waits for what it delivers.

    Each method raises ApiError 504 if nothing is delivered in time.
    """

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    async def ask(self, question: Question, kind: type[T]) -> T:
        """Return the repository's answer; raise ApiError with the status of a refusal's kind."""
        answer = await self._ask(question)
        if isinstance(answer, RequestRefused):
            raise refusal_of(answer.kind, answer.reason)
        return _of_kind(answer, kind)

    async def find(self, question: Question, kind: type[T]) -> T | None:
        """Return the repository's answer, None if what is asked for is not known there."""
        try:
            return await self.ask(question, kind)
        except ApiError as error:
            if error.status == REFUSAL_STATUSES["unknown"]:
                return None
            raise

    async def decision(
        self, message: SubmitOverHttp | CancelOverHttp, waiting: Waiting
    ) -> dict[str, Any]:
        """Return the controller's own reply; raise ApiError 503 if another controller leads."""
        answer = await self._wait(message, waiting)
        if answer is None:
            raise ApiError(
                503, "this controller has no lease: another one leads", Retry_After=RETRY_LATER
            )
        reply: dict[str, Any] = json.loads(answer)
        return reply

    async def _ask(self, question: Question) -> Answer:
        waiting = Waiting()
        answer: Answer = await self._wait(AskRepository(question, waiting.deliver), waiting)
        return answer

    async def _wait(
        self, message: SubmitOverHttp | CancelOverHttp | AskRepository, waiting: Waiting
    ) -> Any:  # noqa: ANN401 - what is delivered
        self._shell.receive_local(message)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await waiting.answer
        except TimeoutError:
            raise ApiError(
                504,
                f"no decision in {ANSWER_SECONDS:g} s: the repository or the broker does not "
                "answer; a job may be stored later, so ask for its status, or send the same "
                "request with the same Idempotency-Key again",
                Retry_After=RETRY_LATER,
            ) from None
        finally:
            self._shell.receive_local(GiveUp(message.deliver))


def _of_kind(answer: object, kind: type[T]) -> T:
    assert isinstance(answer, kind)  # noqa: S101 - the core matches answers to questions
    return answer
