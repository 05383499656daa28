"""The audit page in a real browser, over a database that a running engine writes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from engine.interfaces.audit.private_files import leading_page
from tests.support import audit_database
from tests.support.audit_database import HOSTILE, HOSTILE_USER, LOAM, SAID
from tests.support.patience import WAIT_S

pytestmark = [pytest.mark.process, pytest.mark.browser]

WIDTH, HEIGHT = 1000, 820
LATE = "#late"
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class Visitor:
    """A person at the browser."""

    def __init__(self, browser: webdriver.Chrome, url: str, nats: str) -> None:
        self.browser = browser
        self.url = url
        self.nats = nats

    def opens(self, path: str) -> None:
        self.browser.get(self.url + path)

    def sees(self, text: str) -> bool:
        return text in self.browser.find_element(By.TAG_NAME, "main").text

    def finds(self, css: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, css)

    def follows(self, css: str, text: str = "") -> None:
        """Click on the first such element with this text, and wait for the next page."""
        (chosen, *_) = [each for each in self.finds(css) if text in each.text]
        before = self.browser.find_element(By.TAG_NAME, "html")
        # The head of the page stays in view, and may stand before what was scrolled just into it.
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", chosen)
        chosen.click()
        self._waits_for_another_page(before)

    def looks_again_until_it_finds(self, css: str) -> None:
        """Reload until it is found: Datasette leaves out facets that take over half a second."""
        for _ in range(20):
            if self.finds(css):
                return
            self.browser.refresh()

    def types(self, css: str, text: str) -> None:
        before = self.browser.find_element(By.TAG_NAME, "html")
        self.finds(css)[0].send_keys(text + "\n")
        self._waits_for_another_page(before)

    def _waits_for_another_page(self, before: WebElement) -> None:
        WebDriverWait(self.browser, WAIT_S, 0.02).until(
            lambda browser: browser.find_element(By.TAG_NAME, "html") != before
        )

    def takes_a_picture(self, name: str, height: int = HEIGHT) -> None:
        """Save a screenshot in the folder that ROSEY_LLM_SCREENSHOTS names, if it is set."""
        folder = os.environ.get("ROSEY_LLM_SCREENSHOTS")
        if folder is None:
            return
        Path(folder).mkdir(parents=True, exist_ok=True)
        with self.screen(WIDTH, height):
            self.browser.execute_script("scrollTo(0, 0)")
            assert self.browser.save_screenshot(str(Path(folder) / f"audit-{name}.png"))

    @contextmanager
    def screen(self, width: int, height: int) -> Iterator[None]:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        try:
            yield
        finally:
            self.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def complaints(self) -> list[str]:
        """New messages of the browser's console."""
        return [entry["message"] for entry in self.browser.get_log("browser")]  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    folder = tmp_path_factory.mktemp("audited")
    audit_database.write_files(folder)
    audit_database.write_usage(folder)
    with audit_database.engine(folder) as nats, audit_database.audit(folder, "--port", "0") as page:
        asyncio.run(audit_database.send_messages(nats))
        options = webdriver.ChromeOptions()
        for option in (*OPTIONS, f"--user-data-dir={folder / 'browser'}"):
            options.add_argument(option)
        options.add_argument(f"--window-size={WIDTH},{HEIGHT}")
        options.binary_location = audit_database.find_program("chromium")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = Service(audit_database.find_program("chromedriver"))
        with webdriver.Chrome(service=driver, options=options) as browser:
            # As with --open: from a private file, which is another site for a browser.
            with leading_page(page.address) as leading:
                browser.get(leading)
                WebDriverWait(browser, WAIT_S).until(
                    lambda _: browser.find_elements(By.CSS_SELECTOR, ".channels")
                )
            assert browser.current_url == f"{page.url}/"
            (cookie,) = browser.get_cookies()
            assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
            yield Visitor(browser, page.url, nats)


@pytest.fixture(autouse=True)
def no_complaints(visitor: Visitor) -> Iterator[None]:
    yield
    assert visitor.complaints() == []
    assert "owned" not in visitor.browser.title


def test_a_channel_is_found_and_reads_like_a_chat(visitor: Visitor) -> None:
    visitor.opens("/")
    visitor.takes_a_picture("overview", 860)
    names = [each.text for each in visitor.finds(".channels td:first-child")]
    names = [name for name in names if name != LATE]  # another test may have written there
    assert names[0] == "#python"  # the most recent
    visitor.types("input[name=name]", "PYTH")
    assert [each.text for each in visitor.finds(".channels td:first-child")] == ["#python"]
    visitor.follows(".channels a", "#python")
    visitor.takes_a_picture("channel", 1330)
    said = [each.text for each in visitor.finds(".entry.message .bubble")]
    assert said == [line for _, line in SAID if not line.startswith("persona")]
    assert [each.text for each in visitor.finds(".entry.answer .bubble")][-1] == "Seven minutes."
    assert "carol switched the persona to concise" in visitor.finds(".notice.persona")[0].text
    assert "provider_unavailable" in visitor.finds(".entry.error")[0].text
    assert "vllm · qwen3-8b" in visitor.finds(".entry.answer .how")[0].text


def test_the_newest_message_is_at_the_bottom_and_in_view(visitor: Visitor) -> None:
    visitor.opens("/")
    visitor.follows(".channels a", "#python")
    last = visitor.finds(".chat .bubble")[-1]
    bottom = visitor.browser.execute_script(
        "return arguments[0].getBoundingClientRect().bottom <= innerHeight", last
    )
    assert (last.text, bottom) == ("Seven minutes.", True)


def test_a_turn_is_followed_from_the_chat_to_its_exact_prompt(visitor: Visitor) -> None:
    visitor.opens("/")
    visitor.follows(".channels a", "#python")
    visitor.follows(".entry:nth-of-type(4) .how a")
    visitor.takes_a_picture("turn", 1240)
    assert visitor.sees("exactly what the model was given")
    shown = [each.text for each in visitor.finds(".role pre")]
    assert "friendly member of a chat room" in shown[0]
    assert shown[1] == "How do I read a file line by line?"
    assert shown[2].startswith("Open it in a with block")
    assert shown[3:] == ["Thanks! and write one?"]
    known = {step.find_element(By.TAG_NAME, "b").text for step in visitor.finds(".steps li")}
    assert {"Accepted", "Started", "Answered", "Published"} == known
    assert len(visitor.finds(".steps li:not(.not) time")) >= 3  # the last is noted a little later
    visitor.follows("a[rel=next]")
    assert visitor.sees("What was a decorator again?")
    visitor.follows(".head a", "in its conversation")
    assert visitor.finds(".entry:target .bubble")[0].is_displayed()


def test_words_are_found_and_link_to_their_conversation(visitor: Visitor) -> None:
    visitor.opens("/")
    visitor.types(".seek input", '"inner function"')
    assert [each.text for each in visitor.finds("mark")] == ["inner function"] * 2
    visitor.takes_a_picture("search")
    visitor.follows(".hit .how a", "in its conversation")
    assert "inner function remembers" in visitor.finds(".entry:target")[0].text
    visitor.opens("/search?q=inner&channel=%23garden")
    assert visitor.sees("No message has this word.")
    visitor.opens("/search?q=inner&channel=%23pyhton")
    visitor.follows("main a", "#python")
    assert len(visitor.finds(".hit")) == 2
    visitor.opens("/search?q=%2B%2B")
    assert visitor.sees("The search has no word")


def test_facets_narrow_the_turns_down(visitor: Visitor) -> None:
    visitor.opens("/turns")
    visitor.takes_a_picture("turns")
    visitor.follows("a[data-facet=provider]", "vllm")
    visitor.follows("a[data-facet=persona]", "concise")
    assert [each.text for each in visitor.finds(".turn-line p:last-of-type")] == ["Seven minutes."]
    visitor.follows(".chosen a", "provider")
    assert [each.text for each in visitor.finds(".chosen a")] == ["persona: concise ✕"]
    visitor.opens("/turns?kind=error")
    visitor.follows("a[data-facet=code]", "provider_unavailable")
    visitor.follows("a[data-facet=channel]", "#python")
    assert len(visitor.finds(".turn-line")) == 1
    visitor.follows(".turn-line .how a")
    assert visitor.sees("vllm cannot be reached")


def test_datasettes_own_table_counts_facets_by_the_names_of_channels(visitor: Visitor) -> None:
    visitor.opens("/turns")
    visitor.follows("main a", "As a table")
    visitor.looks_again_until_it_finds("#facet-channel_id")
    assert "#garden" in visitor.finds("#facet-channel_id")[0].text
    visitor.looks_again_until_it_finds("#facet-provider a")
    visitor.follows("#facet-provider a", "vllm")
    assert visitor.sees("qwen3-8b")


def test_what_users_write_is_shown_as_text_and_runs_nothing(visitor: Visitor) -> None:
    visitor.opens("/")
    visitor.follows(".channels a", HOSTILE)
    assert visitor.finds("h1")[0].text == HOSTILE
    assert visitor.finds(".who b")[0].text == HOSTILE_USER
    assert "<script>document.title = 'owned'</script>" in visitor.finds(".entry.answer")[0].text
    visitor.follows(".entry.answer .how a")
    assert visitor.finds("script, main img") == []
    visitor.opens(
        "/search?q=script&channel=%22%3E%3Cscript%3Edocument.title%3D'owned'%3C/script%3E"
    )
    visitor.opens("/search?q=%22%3E%3Cscript%3Edocument.title%3D'owned'%3C/script%3E")
    assert visitor.finds("script, main img") == []
    for path in ("/turns", "/costs?by=channel", "/rosey-llm/history", "/rosey-llm/channel"):
        visitor.opens(path)
        assert visitor.finds("script, main img") == []
        assert visitor.finds("a[href^='javascript']") == []


def test_a_long_channel_is_paged_both_ways_and_what_is_erased_is_a_tombstone(
    visitor: Visitor,
) -> None:
    visitor.opens("/")
    visitor.follows(".channels a", "#garden")
    assert [each.text.split(" on ")[0] for each in visitor.finds(".bubble.gone")] == ["Erased"] * 2
    newest = [each.get_attribute("id") for each in visitor.finds(".entry")]
    visitor.follows("a[rel=prev]")
    older = [each.get_attribute("id") for each in visitor.finds(".entry")]
    assert len({*newest, *older}) == len(newest) + len(older) > 100
    visitor.follows(".pages a", "Newer")
    assert [each.get_attribute("id") for each in visitor.finds(".entry")] == newest
    visitor.types("input[name=user]", "eve")
    assert {each.text for each in visitor.finds(".entry.message .who b")} == {"eve"}
    assert LOAM in visitor.finds(".entry.answer .bubble")[-1].text


def test_the_costs_are_charted_and_lead_to_their_channel(visitor: Visitor) -> None:
    visitor.opens("/")
    visitor.follows(".nav a", "Costs")
    visitor.takes_a_picture("costs", 900)
    models = [each.text for each in visitor.finds(".costs td:first-child")]
    assert {"qwen3-8b", "gpt-4o-mini"} < set(models)
    assert any(each.startswith("llama3.2 ") and each.endswith("unpriced") for each in models)
    bars = visitor.finds(".chart .cost")
    assert len(bars) == len(visitor.finds(".chart .written")) >= 28
    assert max(bar.rect["height"] for bar in bars) > 40
    visitor.follows(".tabs a", "user")
    dearest = [each.text for each in visitor.finds(".costs td:first-child")]
    assert {"alice", "bob", "carol", HOSTILE_USER} <= set(dearest)
    visitor.follows(".period button")
    assert "from=" in visitor.browser.current_url
    assert [each.text for each in visitor.finds(".costs td:first-child")] == dearest
    visitor.follows(".tabs a", "channel")
    visitor.follows(".costs a", "#python")
    assert visitor.finds("h1")[0].text == "#python"


def test_new_messages_appear_on_reload(visitor: Visitor) -> None:
    asyncio.run(audit_database.send_message(visitor.nats, "Is anybody here?", LATE, "zoe"))
    visitor.opens("/")
    visitor.follows(".channels a", LATE)
    assert [each.text for each in visitor.finds(".bubble")] == [
        "Is anybody here?",
        "I do not know that.",
    ]
    visitor.opens("/search?q=anybody")
    assert len(visitor.finds(".hit")) == 1


@pytest.mark.parametrize("path", ["/", "/turns", "/search?q=soil", "/costs", "#python"])
def test_a_phone_shows_it_without_sideways_scrolling(visitor: Visitor, path: str) -> None:
    visitor.opens("/" if path == "#python" else path)
    if path == "#python":
        visitor.follows(".channels a", path)
    with visitor.screen(390, 844):
        widths = "return [document.documentElement.scrollWidth, innerWidth]"
        assert visitor.browser.execute_script(widths) == [390, 390]


@pytest.mark.parametrize("path", ["/", "/costs"])
def test_it_is_dark_if_the_browser_prefers_dark(visitor: Visitor, path: str) -> None:
    visitor.opens(path)
    ground = "return getComputedStyle(document.body).backgroundColor"
    assert visitor.browser.execute_script(ground) == "rgb(248, 245, 243)"
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    visitor.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": dark})
    try:
        assert visitor.browser.execute_script(ground) == "rgb(21, 17, 19)"
    finally:
        visitor.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
