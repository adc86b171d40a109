"""Fills a throw-away HOME with sessions, through Session-Buddy's own storage, while its server does not run.

    seed.py SESSIONS    the last of them is still open (no end, no duration)
"""

import asyncio
import os
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from session_buddy.core.workflow_metrics import SessionMetrics, WorkflowMetricsEngine, WorkflowMetricsStore

count = int(sys.argv[1])
home = Path(os.environ["HOME"])
if (home / ".bashrc").exists():
    sys.exit(f"{home} looks like a real home: use a throw-away one")
data = home / ".claude" / "data"
data.mkdir(parents=True, exist_ok=True)
for name in ("workflow_metrics.db", "workflow_metrics.db.wal"):
    (data / name).unlink(missing_ok=True)

numbers = random.Random(20261123)
now = datetime.now(UTC).replace(microsecond=0)
projects = ["/home/dev/mahavishnu", "/home/dev/session-buddy", "/home/dev/akosha"]
languages = ["Python", "Rust", "JavaScript", None]
tools = ["Read", "Edit", "Bash", "Grep", "Write"]


async def fill() -> None:
    store = WorkflowMetricsStore()
    engine = WorkflowMetricsEngine(store=store)
    for i in range(count):
        started = now - timedelta(days=numbers.randint(1, 27), minutes=numbers.randint(0, 1439))
        is_open = i == count - 1
        minutes = None if is_open else round(numbers.uniform(5, 200), 3)
        before = float(numbers.randint(50, 75))
        after = min(100.0, before + numbers.randint(-6, 18))
        await store.store_session_metrics(
            SessionMetrics(
                session_id=f"session-{i:04d}",
                project_path=projects[i % len(projects)],
                started_at=started.replace(tzinfo=None),
                ended_at=None if is_open else (started + timedelta(minutes=minutes)).replace(tzinfo=None),
                duration_minutes=minutes,
                checkpoint_count=numbers.randint(0, 8),
                commit_count=numbers.randint(0, 12),
                quality_start=before,
                quality_end=after,
                quality_delta=after - before,
                avg_quality=(before + after) / 2,
                files_modified=numbers.randint(0, 40),
                tools_used=numbers.sample(tools, numbers.randint(1, 5)),
                primary_language=languages[i % len(languages)],
                time_of_day=engine._classify_time_of_day(started),
            )
        )
    store.close()


asyncio.run(fill())
print(f"seeded {count} sessions, one of them open, in {home}")
