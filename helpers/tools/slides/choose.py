"""Which blocks of a notebook become slides, and what is said beside each.

Every section gives its best block: a figure or a drawing before a formula, a table or a
short cell with its output. Then the best of what is left follows, until the deck is
full; a section that has given much must offer more. What a cell asks to predict stands
on a slide of its own before the answer. The tags ``slide`` and ``skip-slide`` on a cell
overrule the choice. The prose between two slides becomes the notes of the second, and
what directly follows a slide is said with it.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from nbformat import NotebookNode

from helpers.tools.sections import tags
from helpers.tools.slides.blocks import (
    Block,
    Kind,
    blocks,
    exercise_title,
    sentences,
    unlinked,
)

__all__ = ["FEWEST", "MOST", "Slide", "choose"]

FEWEST, MOST = 12, 25  # slides of a deck
GOAL = 21  # where the best of what is left ends
FIXED = 4  # title, points, exercises and end
QUESTIONS = 4  # slides that ask to predict, at most
# What fits on a slide beside its title and two lines of text.
CODE_LINES, OUTPUT_LINES, TOGETHER = 18, 12, 18
TABLE_ROWS = 11
LEAD, TAKEAWAY, QUESTION = 170, 210, 420  # characters
_SKIPPED = re.compile(r"What we have seen|Go bigger|Read more|Turn the knobs")
# "*Predict, then run:* which …?", or the question within: "*Predict: which …?*"
_PREDICT = re.compile(
    r"\*{1,2}Predict(?:, then run)?(?P<stop>[.:]?)"
    r"(?P<within>[^*]*)\*{1,2}(?P<late>[.:]?)"
)
_TOLD = re.compile(r"[.!…][*)\"”]*$")
_HINT = re.compile(r"\*(?:Look|Read|Watch|Compare|Mind)")
# What leads on, and what only the reader at the keyboard can do.
_LEADS_ON = re.compile(
    r"\*\*|(?:Try|Explore|Turn|Move|Let|Now|Next|Here|So far|To compare)\b"
    r"|(?:Two|Three|Four) (?:findings|lessons|things)\b"
)


@dataclass(frozen=True)
class Slide:
    """One slide; texts are Markdown.

    Attributes:
        kind: title, points, figure, drawing, formula, table, code, question, exercises
            or end.
        section: the heading (##) it belongs to; part: the one (###) below, or "".
        body: what it shows: text of a formula, a table or a list; else "".
        block: where a figure, a drawing, a cell or a table comes from.
        lead: a sentence above; takeaway: one below.
        notes: paragraphs for the speaker.
    """

    kind: str
    section: str = ""
    part: str = ""
    body: str = ""
    block: Block | None = None
    lead: str = ""
    takeaway: str = ""
    notes: tuple[str, ...] = field(default=())


def choose(notebook: NotebookNode) -> list[Slide]:
    """Return the slides of a notebook, `FEWEST` to `MOST` where it offers as many."""
    row = blocks(notebook)
    places = _chosen(row)
    asking = _questions(row, places)
    slides = _opening(row)
    done = next(
        (i for i, b in enumerate(row) if b.kind is Kind.HEADING and b.section), 0
    )
    for place in places:
        after = _after(row, place)
        before = [b for b in row[done:place] if not _skipped(b)]
        shown = _shown(row, place)
        notes = _notes([*before, *after])
        question = asking.get(place, "")
        if question:
            slides.append(
                Slide("question", shown.section, shown.part, question, row[place])
            )
            slides[-1] = replace(slides[-1], notes=_notes(before))
            notes = _notes(after) or ("Compare with what was guessed.",)
        slides.append(replace(shown, notes=notes or _instead(shown)))
        done = place + 1 + len(after)
    slides += _closing(row, done)
    return slides


def _skipped(block: Block) -> bool:
    return bool(_SKIPPED.search(block.section)) or "skip-slide" in tags(block.cell)


def _instead(slide: Slide) -> tuple[str, ...]:
    """Notes of a slide with no prose around it: what it shows."""
    said = [slide.lead, slide.takeaway, alt(slide)]
    return tuple(text for text in said if text) or (slide.part or slide.section,)


def alt(slide: Slide) -> str:
    """What the picture of a slide shows, in words; "" for a slide without one."""
    if slide.block is None or slide.kind not in ("drawing", "figure"):
        return ""
    if slide.kind == "drawing":
        return slide.block.alt
    shown = picture(slide.block.cell)
    return str(shown.metadata["image/png"]["alt"]) if shown else ""


# --- the choice -------------------------------------------------------------------


def _chosen(row: Sequence[Block]) -> list[int]:
    """Places of the blocks to show, in order."""
    worth = {i: score for i, block in enumerate(row) if (score := _worth(row, i)) > 0}
    forced = [i for i in worth if "slide" in tags(row[i].cell)]
    room = GOAL - FIXED
    chosen: list[int] = list(forced)
    best: dict[str, int] = {}
    for i, score in worth.items():
        name = row[i].section
        if name not in best or score > worth[best[name]]:
            best[name] = i
    taken = {row[i].section for i in chosen}
    firsts = [i for name, i in best.items() if name not in taken]
    chosen += sorted(firsts, key=lambda i: -worth[i])[: max(0, room - len(chosen))]
    while len(chosen) < room:
        sections = Counter(row[i].section for i in chosen)
        parts = Counter((row[i].section, row[i].part) for i in chosen)

        def gain(
            i: int,
            sections: Counter[str] = sections,
            parts: Counter[tuple[str, str]] = parts,
        ) -> float:
            block = row[i]
            again = parts[block.section, block.part]
            return worth[i] * 0.9 ** sections[block.section] * 0.8**again

        left = [i for i in worth if i not in chosen]
        if not left or (gain(next_ := max(left, key=gain)) < 2.5 and len(chosen) > 12):
            break
        chosen.append(next_)
    return sorted(chosen)


def _worth(row: Sequence[Block], place: int) -> float:
    """How much a block says on a slide; 0 for what cannot be one."""
    block = row[place]
    if not block.section or _skipped(block):
        return 0.0
    forced = 20.0 if "slide" in tags(block.cell) else 0.0
    if block.kind is Kind.DRAWING:
        return 10.0
    if block.kind is Kind.FORMULA:
        return 0.0 if len(block.text) > 420 else 6.5
    if block.kind is Kind.TABLE:
        return 5.0 if len(block.text.splitlines()) - 2 <= TABLE_ROWS else 0.0
    if block.kind is not Kind.CODE or not block.cell.outputs:
        return 0.0
    source = block.text
    if "helpers.setup(" in source or "helpers.online" in source:
        return 0.0
    if picture(block.cell):
        score = 4.0 if "widget" in tags(block.cell) else 9.0
        return forced + score + (1.0 if _asked(row, place) else 0.0)
    if "widget" in tags(block.cell):
        return 0.0
    if html := html_table(block.cell):
        if (
            len(re.sub(r"<style.*?</style>|<[^>]+>|\s+", "", html, flags=re.DOTALL))
            > 900
        ):
            return forced + 3.0  # too much to read from the back of a room
        return forced + 7.0 + (0.5 if _asked(row, place) else 0.0)
    printed = output_text(block.cell).splitlines()
    lines = len(source.splitlines())
    if not printed or max(map(len, printed)) > 92:
        return forced
    fits = lines <= CODE_LINES and lines + len(printed) <= TOGETHER
    score = 5.5 if "assert " in source else 4.0
    return forced + max(0.5, score - (0 if fits else 2.0) - max(0, lines - 8) * 0.1)


def picture(cell: NotebookNode) -> NotebookNode | None:
    """Return the first picture among a cell's outputs."""
    shown = [o for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    return shown[0] if shown else None


def html_table(cell: NotebookNode) -> str:
    """Return the HTML of a table that a cell shows, "" if there is none."""
    for output in cell.get("outputs", []):
        html = str(output.get("data", {}).get("text/html", ""))
        if "<table" in html:
            return html
    return ""


def output_text(cell: NotebookNode) -> str:
    """Return what a cell prints, or the value it ends with."""
    parts = []
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if output.output_type == "stream":
            parts.append(output.text)
        elif "image/png" not in data and "text/html" not in data:
            parts.append(data.get("text/plain", ""))
    return "\n".join(part.rstrip("\n") for part in parts).strip("\n")


# --- the words beside it ----------------------------------------------------------


def _before(row: Sequence[Block], place: int) -> list[Block]:
    """The paragraphs above a block, up to the last output or heading."""
    found: list[Block] = []
    for block in reversed(row[:place]):
        if block.kind in (Kind.HEADING, Kind.EXERCISE):
            break
        if block.kind is Kind.CODE and block.cell.outputs:
            break
        found.insert(0, block)
    return found


def _after(row: Sequence[Block], place: int) -> list[Block]:
    """The paragraphs that directly follow a block, up to a cell, a heading, …"""
    found = []
    for block in row[place + 1 :]:
        if block.kind not in (Kind.PROSE, Kind.LIST):
            break
        if _PREDICT.search(block.text):
            break
        found.append(block)
    # What leads to the next cell is said there, unless there is nothing else.
    rest = row[place + 1 + len(found) :]
    leads = bool(rest) and rest[0].kind is not Kind.HEADING
    return found[:-1] if leads and len(found) > 1 else found


def _asked(row: Sequence[Block], place: int) -> str:
    """Return the question that a reader shall answer before the block is shown."""
    for block in reversed(_before(row, place)):
        found = _PREDICT.search(block.text) if block.kind is Kind.PROSE else None
        if found:
            return _question(block.text.removeprefix("> "), found[0])
    return ""


def _question(text: str, marker: str) -> str:
    """The question behind (or within) ``marker``, and what it is about above it."""
    about, _, after = text.partition(marker)
    found = _PREDICT.fullmatch(marker)
    assert found
    within = found["within"].strip()
    if within and not found["stop"]:  # "*Predict where the dots lie.*"
        after = f"Predict {within} {after}"
    elif within:
        after = f"{within} {after}"
    elif not (found["stop"] or found["late"]):  # "*Predict, then run* this recipe"
        after = f"Predict, then run {after.strip()}"
    asked = _fitting(_looks(after), QUESTION)
    asked = asked[:1].upper() + asked[1:]
    told = sentences(about)
    context = _fitting(told[-1:], QUESTION // 2)
    if "?" not in asked and not asked.startswith("Predict"):
        asking = [s for s in told[:-1] if s.endswith("?")]
        context = " ".join([*asking, context])
        if "?" not in context:
            asked += " What do you expect to see?"
    return "\n\n".join(part for part in (context, asked) if part)


def _looks(text: str) -> list[str]:
    """Sentences without the hints where to look, which belong beside the answer."""
    return [s for s in sentences(text) if not _HINT.match(s)]


def _questions(row: Sequence[Block], places: Sequence[int]) -> dict[int, str]:
    """Questions by the place of their answer: the best, at most one a section."""
    asked = [(i, text) for i in places if (text := _asked(row, i))]
    by_section: dict[str, tuple[int, str]] = {}
    for i, text in asked:
        by_section.setdefault(row[i].section, (i, text))
    best = sorted(by_section.values(), key=lambda found: -_worth(row, found[0]))
    room = MOST - FIXED - len(places)
    return dict(sorted(best[: max(0, min(QUESTIONS, room))]))


def _shown(row: Sequence[Block], place: int) -> Slide:
    block = row[place]
    before = [
        b for b in _before(row, place) if b.kind is Kind.PROSE and b.text[0] != ">"
    ]
    after = [b for b in _after(row, place) if b.text[0] != ">" and b.kind is Kind.PROSE]
    takeaway = _takeaway(after[0].text) if after else ""
    slide = Slide("code", block.section, block.part, "", block, "", takeaway)
    if block.kind is Kind.DRAWING:
        return replace(slide, kind="drawing")
    lead = _lead(before)
    if block.kind is Kind.FORMULA:
        return replace(slide, kind="formula", body=block.text, lead=lead)
    if block.kind is Kind.TABLE:
        return replace(slide, kind="table", body=block.text, lead=lead)
    if picture(block.cell):
        return replace(slide, kind="figure", lead=lead)
    if html_table(block.cell):
        return replace(slide, kind="table", lead=lead)
    return replace(slide, lead=lead)


def _takeaway(text: str) -> str:
    """The first sentences below a block, as far as they speak of it."""
    said = []
    for sentence in sentences(text):
        if not _TOLD.search(sentence) or _LEADS_ON.match(sentence):
            break
        said.append(sentence)
    return _fitting(said, TAKEAWAY)


def _lead(before: Sequence[Block]) -> str:
    """The hint where to look, or the sentence that leads to the block."""
    if not before:
        return ""
    said = sentences(_PREDICT.sub("", before[-1].text))
    for sentence in said:
        if _HINT.match(sentence) and len(sentence) <= LEAD:
            return unlinked(sentence)
    last = said[-1] if said else ""
    fits = len(last) <= LEAD and not last.endswith("?") and not last.startswith("(")
    return unlinked(last) if fits else ""


def _fitting(said: Sequence[str], room: int) -> str:
    """The first sentences that fit into ``room`` characters, "" if none does."""
    kept: list[str] = []
    for sentence in map(unlinked, said):
        if sum(map(len, kept)) + len(kept) + len(sentence) > room:
            break
        kept.append(sentence)
    if kept and kept[-1].endswith(":"):
        kept.pop()
    return " ".join(kept)


def _notes(said: Sequence[Block]) -> tuple[str, ...]:
    """The paragraphs for the speaker; an exercise is named, not read out."""
    notes = []
    for block in said:
        if block.kind is Kind.EXERCISE:
            title = exercise_title(block.text)
            if title:
                notes.append(f"Exercise {title}")
        elif block.kind in (Kind.PROSE, Kind.LIST, Kind.FORMULA):
            notes.append(unlinked(block.text))
        elif block.kind is Kind.HEADING and block.level > 1:
            notes.append(f"**{block.text}**")
    # A heading without a word below it says nothing.
    return tuple(
        note
        for note, following in pairwise([*notes, "**"])
        if not (re.fullmatch(r"\*\*[^*]+\*\*", note) and following.startswith("**"))
    )


# --- first and last slides --------------------------------------------------------


def _opening(row: Sequence[Block]) -> list[Slide]:
    head = [b for b in row if not b.section]
    title = next(b.text for b in head if b.kind is Kind.HEADING)
    said = [b for b in head if b.kind is Kind.PROSE]
    promise = next((b.text for b in said), "")
    facts = next((b.text for b in said if b.text.startswith("Time:")), "")
    points = next((b.text for b in head if b.kind is Kind.LIST), "")
    spoken = [b for b in said if b.text not in (promise, facts)]
    notes = (promise, *_notes([b for b in spoken if "you can" not in b.text]))
    told = unlinked(facts.replace(" · ", "\n\n"))
    opening = Slide("title", part=title, lead=unlinked(promise), body=told, notes=notes)
    goals = Slide(
        "points",
        "After this notebook you can",
        body=unlinked(points),
        notes=("What the notebook is for. The last slide comes back to it.",),
    )
    return [opening, goals]


def _closing(row: Sequence[Block], done: int) -> list[Slide]:
    exercises = [title for b in row if (title := exercise_title(b.text))]
    left = [b for b in row[done:] if not _skipped(b)]
    slides = []
    if exercises:
        listed = "\n".join(f"- {title}" for title in exercises)
        notes = (
            "The statements are in the notebook. `helpers.check` says at once if an "
            + "answer is right, or which mistake it is.",
            *_notes(left),
        )
        slides.append(Slide("exercises", "Your turn", body=listed, notes=notes))
    seen = [b for b in row if "What we have seen" in b.section and b.kind is Kind.LIST]
    bigger = [b for b in row if "Go bigger" in b.section and b.kind is Kind.PROSE]
    body = unlinked("\n".join(b.text for b in seen[:1]))
    notes = tuple(unlinked(b.text) for b in bigger) or ("Time for questions.",)
    slides.append(Slide("end", "What we have seen", body=body, notes=notes))
    return slides


def cut(source: str, lines: int) -> str:
    """Shorten code to ``lines`` lines: whole statements from the end are kept.

    The end of a cell makes its output. A line ``# …`` stands for what is missing.
    """
    source = re.sub(r"\n{3,}", "\n\n", source.rstrip())
    rows = source.splitlines()
    if len(rows) <= lines:
        return "\n".join(rows)
    try:
        starts = [statement.lineno - 1 for statement in ast.parse(source).body]
    except SyntaxError:  # a magic
        starts = list(range(len(rows)))
    fitting = [start for start in starts if 0 < len(rows) - start <= lines - 1]
    start = min(fitting) if fitting else len(rows) - lines + 1
    return "\n".join(["# …", *rows[start:]])
