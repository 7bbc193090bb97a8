"""Write the tables of rules into docs/rules.md and README.md: python docs/rules_table.py

They stand between markers and come from what the rules declare (bioplaus/declaration.py) and from trying every pair of halves;
no entry is typed by hand.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from bioplaus.declaration import INDICES, LETTERS, order
from bioplaus.errors import RuleError
from bioplaus.rules import ELIGIBILITIES, SIGNALS, TABLE, Rule
from bioplaus.schedule import Online, Window
from bioplaus.signal import Instant
from bioplaus.signal.instant import FEEDBACKS

ROOT = Path(__file__).parent.parent


def learning() -> str:
    """What every named rule is."""
    rows = []
    for name, r in named():
        halves = (r.past, r.future)
        rows.append(
            (
                f"`{name}`",
                r.facing,
                f"`{type(r.eligibility).__name__}`: {r.past.keeps}",
                f"`{type(r.signal).__name__}`: {r.future.keeps}",
                both(half.tensor for half in halves),
                "stochastic" if any(half.random for half in halves) else "deterministic",
                "closed" if all(half.closed for half in halves) else "numerical",
                r.claim,
                r.exact_when,
            )
        )
    return table(("rule", "faces", "past half", "future half", "tensor", "update", "form", "claim", "exact when"), rows)


def cost() -> str:
    """What every named rule needs, and whence it is."""
    rows = []
    for name, r in named():
        past, future = halves = (r.past, r.future)
        links = ", ".join(f"[{reference}]({where})" for reference, where in r.references.items())
        rows.append(
            (
                f"`{name}`",
                word(past.causal and future.causal),
                word(past.local and future.local),
                word(past.transport or future.transport),
                both(half.memory for half in halves),
                both(half.time for half in halves),
                links,
            )
        )
    return table(("rule", "online", "local", "weight transport", "memory", "time", "reference"), rows)


def pairs() -> str:
    """Every past half with every future half, as it is when one tries."""
    signals = {f"instant, {kind}": Instant(kind) for kind in FEEDBACKS}  # type: ignore[arg-type]
    signals |= {name: make() for name, make in SIGNALS.items() if make is not Instant}
    rules = dict(named())
    rows = []
    for name, make in ELIGIBILITIES.items():
        row = [f"`{name}`", make.declaration.credit]
        for signal in signals.values():
            try:
                claim = Rule(make(), signal, Online() if signal.declaration.causal else Window()).claim
            except RuleError as error:
                reason = re.search(r"would be (counted twice|missed)", str(error))
                assert reason, f"refused for another reason than its paths: {error}"
                row.append(f"– {reason[1].removeprefix('counted ')}")
                continue
            known = [f"`{n}`" for n, r in rules.items() if type(r.eligibility) is make and r.signal == signal]
            row.append(" ".join([claim, *known]))
        rows.append(row)
    return table(("past half", "needs", *signals), rows)


def short() -> str:
    """The README's table."""
    rows = []
    for name, r in named():
        past, future = halves = (r.past, r.future)
        local = word(past.local and future.local)
        if local == "yes" and (past.transport or future.transport):
            local = "but for weight transport"
        rows.append(
            (
                f"`{name}`",
                past.keeps,
                future.keeps,
                r.claim,
                word(past.causal and future.causal),
                local,
                both(half.memory for half in halves),
            )
        )
    return table(("rule", "past half keeps", "future half", "claim", "online", "local", "memory per sample"), rows)


def letters() -> str:
    """What letters and indices mean."""
    orders = "; ".join(f"`{letter}` {what}" for letter, what in LETTERS.items())
    indices = "; ".join(f"`{letter}` {what}" for letter, what in INDICES.items())
    return f"In orders: {orders}.\n\nAs indices: {indices}."


def named() -> Iterable[tuple[str, Rule]]:
    return ((name, make()) for name, make in TABLE.items())


def both(parts: Iterable[str]) -> str:
    """What two halves add up to; what is said behind a semicolon stays behind it."""
    parts = [part for part in parts if part != "–"]
    whole = " + ".join(map(order, parts)) if all("[" not in part for part in parts) else ", ".join(parts)
    return "; ".join([whole or "–", *(rest.strip() for part in parts if (rest := part.partition(";")[2]))])


def word(value: bool) -> str:
    return "yes" if value else "no"


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(columns), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


PAGES: dict[Path, dict[str, Callable[[], str]]] = {
    ROOT / "docs" / "rules.md": {"learning": learning, "cost": cost, "letters": letters, "pairs": pairs},
    ROOT / "README.md": {"rules": short},
}


def filled(page: Path) -> str:
    """The page as it should be now."""
    text = page.read_text()
    for name, make in PAGES[page].items():
        begin, end = f"<!-- {name}: written by docs/rules_table.py -->", f"<!-- {name}: end -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise SystemExit(f"{page} lacks the markers {begin} and {end}, between which a table belongs.")
        text = f"{before}{begin}\n\n{make()}\n\n{end}{after}"
    return text


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page))
