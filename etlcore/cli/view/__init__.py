"""Everything a person (or a log collector) sees of a run, on standard error: standard output is the data's.

`lines` writes, `logs` leads messages there, `text` shows a run as plain lines, `live` as a table on a terminal, `jsonl`
as JSON objects; `report` is the drain report in words, `document` the same as data.
"""

from __future__ import annotations
