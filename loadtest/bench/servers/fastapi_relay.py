"""What most would write: FastAPI, the openai client's ``stream=True``, and nothing kept.

No log, no resume, no lease, no transcript: each piece of the model's stream is sent on as it comes.
"""

import contextlib
import os

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from openai import AsyncOpenAI

from loadtest.bench.servers.serving import serve

app = FastAPI()
client = AsyncOpenAI(api_key=os.environ["OPENAI_API_KEY"], base_url=os.environ["OPENAI_BASE_URL"])


@app.websocket("/relay")
async def relay(socket: WebSocket) -> None:
    """Relay one completion to one socket."""
    with contextlib.suppress(WebSocketDisconnect):
        await _relay(socket)


async def _relay(socket: WebSocket) -> None:
    await socket.accept()
    prompt = await socket.receive_text()
    stream = await client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": prompt}], stream=True
    )
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            await socket.send_json({"type": "delta", "text": chunk.choices[0].delta.content})
    await socket.close()


if __name__ == "__main__":
    serve(app)
