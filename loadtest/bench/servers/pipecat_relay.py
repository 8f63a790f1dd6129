"""Pipecat as its users run it for text: its OpenAI service, its FastAPI WebSocket transport.

Everything that is not needed to relay text is off: RTVI, turn tracking, the idle time-out, logs.
Pipecat comes with the optional extra ``bench``; its types are not known to a strict checker.
"""
# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUntypedBaseClass=false, reportUnknownParameterType=false
# pyright: reportUntypedFunctionDecorator=false

import json
import os
from typing import Any

from fastapi import FastAPI, WebSocket
from loguru import logger
from pipecat.frames.frames import (
    Frame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMTextFrame,
    OutputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.serializers.base_serializer import FrameSerializer
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

from loadtest.bench.servers.serving import serve

app = FastAPI()
logger.remove()


class Serializer(FrameSerializer):
    """Text in, messages out, as JSON."""

    async def serialize(self, frame: Frame) -> str | bytes | None:
        """Return a message as it goes over the wire."""
        if isinstance(frame, OutputTransportMessageFrame | OutputTransportMessageUrgentFrame):
            return json.dumps(frame.message, separators=(",", ":"))
        return None

    async def deserialize(self, data: str | bytes) -> Frame | None:
        """Take the prompt: a context that the model is to answer."""
        text = data if isinstance(data, str) else data.decode()
        return LLMContextFrame(LLMContext([{"role": "user", "content": text}]))


class Speaker(FrameProcessor):
    """Makes a message of each piece of text."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """See Pipecat."""
        await super().process_frame(frame, direction)
        if isinstance(frame, LLMTextFrame):
            message: dict[str, Any] = {"type": "delta", "text": frame.text}
            await self.push_frame(OutputTransportMessageFrame(message), direction)
        elif isinstance(frame, LLMFullResponseEndFrame):
            await self.push_frame(OutputTransportMessageFrame({"type": "end"}), direction)
        else:
            await self.push_frame(frame, direction)


@app.websocket("/relay")
async def relay(socket: WebSocket) -> None:
    """Run one pipeline for one socket."""
    await socket.accept()
    transport = FastAPIWebsocketTransport(
        socket, FastAPIWebsocketParams(serializer=Serializer(), allowed_origins=[])
    )
    llm = OpenAILLMService(
        api_key=os.environ["OPENAI_API_KEY"],
        base_url=os.environ["OPENAI_BASE_URL"],
        settings=OpenAILLMService.Settings(model="m"),
    )
    pipeline = Pipeline([transport.input(), llm, Speaker(), transport.output()])
    worker = PipelineWorker(
        pipeline, enable_rtvi=False, enable_turn_tracking=False, idle_timeout_secs=None
    )

    @transport.event_handler("on_client_disconnected")
    async def left(_transport: Any, _socket: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


if __name__ == "__main__":
    serve(app)
