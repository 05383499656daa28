"""LangGraph with its AsyncSqliteSaver, which writes in WAL with SQLite's default, FULL.

It deletes what is older than the window, as its documents show: otherwise each turn writes the
whole conversation again, and gets slower as that grows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from langchain_core.messages import RemoveMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph

from tests.bench.others import SYSTEM, WINDOW, Turn


@asynccontextmanager
async def open_turns(url: str, database: str) -> AsyncIterator[Turn]:
    @cache
    def chat_model(model: str) -> ChatOpenAI:
        return ChatOpenAI(model=model, base_url=f"{url}/v1", api_key="none")

    async def answer(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        messages = state["messages"]
        asked = [SystemMessage(SYSTEM), *messages[-WINDOW:]]
        reply = await chat_model(config["configurable"]["model"]).ainvoke(asked)
        return {"messages": [reply, *(RemoveMessage(each.id) for each in messages[:-WINDOW])]}

    graph = StateGraph(MessagesState)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    async with AsyncSqliteSaver.from_conn_string(database) as saver:
        bot = graph.compile(checkpointer=saver)

        async def turn(channel: str, text: str, model: str) -> str:
            said = {"messages": [{"role": "user", "content": text}]}
            thread: RunnableConfig = {"configurable": {"thread_id": channel, "model": model}}
            state = await bot.ainvoke(said, thread)
            return str(state["messages"][-1].content)

        yield turn
