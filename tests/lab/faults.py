"""The fault table: what a client got of each fault, what was charged, after how long, and what the record says.

Tests note their rows; each file's part goes to target/logs/faults/, all parts together to target/logs/faults.md. Where a fault
was met in several ways, target/logs/faults-short.md has one row of it.
"""

from .laboratory import charged
from .process import ROOT

OUT = ROOT / "target/logs/faults"
HEAD = ("| fault | asked | the client got | from | charged | s | record |\n|---|---|---|---|--:|--:|---|\n")


def described(answer):
    """An answer in a few words: how it began, and how it ended."""
    if answer is None:
        return "gone"
    if answer.status == 0:
        return "connection closed"
    said = str(answer.status)
    if "event-stream" in answer.headers.get("content-type", ""):
        events = answer.events()
        last = events[-1] if events else ""
        ended = isinstance(last, dict) and ("error" in last or last.get("type") == "error")
        end = "[DONE]" if last == "[DONE]" else "error event" if ended else "message_stop" if "message_stop" in answer.text else "cut"
        said += f", stream, {end}"
    elif answer.status >= 400:
        try:
            said += f", {answer.json()['error'].get('code') or answer.json()['error']['type']}"
        except (ValueError, LookupError, TypeError):
            said += ", plain text"
    elif answer.broken:
        said += ", cut"
    else:
        try:
            answer.json()
        except ValueError:
            said += ", as it came"
    return said


def reason(record):
    """Why each attempt was given up, and how the exchange ended."""
    gave_up = [f"{one['provider']}: {one['gave_up']}" for one in record.get("attempts", []) if one.get("gave_up")]
    return "; ".join([*gave_up, record["end"]])


class Table:
    """The rows of one file of tests."""

    def __init__(self, name):
        self.name, self.rows, self.short = name, [], {}

    def note(self, fault, asked, answer, record, seconds=None):
        seconds = answer.seconds if seconds is None else seconds
        provider = answer.headers.get("x-spillway-provider", "—") if answer else "—"
        cells = (fault, asked, described(answer), provider, str(charged([record])) if "actual" in record else "0", f"{seconds:.1f}",
                 reason(record))
        self.add(*cells)
        way, _, kind = asked.partition(", ")
        outcome = "the second's answer" if provider == "backup" else described(answer)
        self.short.setdefault(fault, {}).setdefault(way, {})[kind] = f"{outcome} ({seconds:.1f} s)"

    def add(self, *cells):
        self.rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")

    def write(self):
        OUT.mkdir(parents=True, exist_ok=True)
        (OUT / f"{self.name}.part").write_text("".join(self.rows))
        parts = "".join(part.read_text() for part in sorted(OUT.glob("*.part")))
        OUT.with_suffix(".md").write_text(HEAD + parts)
        if self.short:
            OUT.with_name("faults-short.md").write_text(self._shortened())

    def _shortened(self):
        ways = list(dict.fromkeys(way for row in self.short.values() for way in row))
        head = f"| whole · streamed | {' | '.join(ways)} |\n|---|{'---|' * len(ways)}\n"
        cell = lambda row, way: " · ".join(dict.fromkeys(row.get(way, {}).values())) or "—"
        return head + "".join(f"| {fault} | {' | '.join(cell(row, way) for way in ways)} |\n" for fault, row in self.short.items())
