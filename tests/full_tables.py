"""Tables as they are after weeks: most waits finished, 10,000 open, among them every state that a row can be in."""

from typing import Any, Final

from psycopg import Connection

ROWS: Final = 50_000
STATES: Final = 50  # row i is in the state i modulo 50
# Every fifth row is an open wait for a task.
PLAIN: Final = 24
WITH_KEY, FROZEN, TAKING, DEFERRED, WITH_HANDSHAKE = 19, 4, 9, 14, 29
RESTORING, TO_RESTORE, COMPLETE, OVER, DONE, EARLY = 1, 2, 7, 6, 8, 5

FILL_DEPENDENCY = """
INSERT INTO dependency (id, run_id, attempt, wait_number, reason, key, workload, reply_to, handshake, digest, delay_ms,
                        delay_from, will_checkpoint, registered_at, early_at, due_at, completed_at,
                        outcome, outcome_type, checkpoint_id, resumed_at, cancelled_at, cancel_reason,
                        done_at, look_at, sends)
SELECT 'd-' || i, CASE WHEN state = 5 THEN NULL WHEN is_done THEN 'run-' || i / 5 ELSE 'open-' || i END,
       1, i %% 5 + 1, 'WAIT_FOR_TASK',
       CASE state WHEN 19 THEN 'k' || i %% 1000 END,
       jsonb_build_object('engine', 'simulate', 'node', 'node-' || i %% 10, 'pid', i, 'started_at_ticks', i),
       'continuations', state = 29, md5(i::text), 30000, 'reason', true, at, CASE WHEN state = 5 THEN at END,
       at + interval '1 minute',
       CASE WHEN NOT is_open AND state <> 6 THEN at END,
       CASE WHEN NOT is_open THEN to_jsonb(i) END, CASE WHEN NOT is_open THEN 'success' END,
       CASE WHEN state IN (1, 2, 3, 4, 6) THEN i END,
       CASE WHEN (is_done OR state IN (1, 2)) AND state <> 5 THEN at END, CASE WHEN state = 6 THEN at END,
       CASE WHEN state = 6 THEN 'RUN_CANCELLED' END, CASE WHEN is_done AND state <> 5 THEN at END,
       CASE WHEN NOT is_done AND state <> 6 THEN now() + i * interval '1 second' END, 1
  FROM (SELECT i, i %% 50 AS state, i %% 5 = 4 AS is_open,
               i %% 5 <> 4 AND i %% 50 NOT IN (1, 2, 6, 7) AS is_done,
               now() - i * interval '1 minute' AS at
          FROM generate_series(%(first)s::integer, %(last)s) i) n
"""
FILL_CHECKPOINT = """
INSERT INTO checkpoint (id, dependency_id, run_id, wait_number, node, workload, status, epoch, tries, claimed_at,
                        due_at, asked_at, location, accepted_at, freed_at, restored_at, restored_workload,
                        lease_until, look_at)
OVERRIDING SYSTEM VALUE
SELECT i, d.id, d.run_id, d.wait_number, d.workload ->> 'node', d.workload, n.status, 1, 0, now(),
       CASE n.status WHEN 'deferred' THEN now() + interval '1 hour' ELSE now() END,
       CASE n.status WHEN 'deferred' THEN now() END,
       CASE WHEN n.status NOT IN ('taking', 'deferred', 'refused') THEN 'simulate:' || i END, now(),
       CASE WHEN n.status IN ('restored', 'accepted') THEN now() END,
       CASE WHEN n.status = 'restored' THEN now() END, CASE WHEN n.status = 'restored' THEN d.workload END,
       CASE WHEN n.status = 'restoring' THEN now() END,
       CASE WHEN n.status IN ('taking', 'deferred', 'discarded', 'restoring') THEN now() + i * interval '1 second' END
  FROM (SELECT i, (ARRAY['refused', 'restoring', 'accepted', 'restored', 'accepted', NULL, 'discarded', NULL, NULL,
                         'taking', NULL, NULL, NULL, NULL, 'deferred'])[i %% 50 + 1] AS status
          FROM generate_series(%(first)s::integer, %(last)s) i) n
  JOIN dependency d ON d.id = 'd-' || i
 WHERE n.status IS NOT NULL
"""


def prepare(conn: Connection[Any]) -> None:
    """Have no autovacuum come in between, and nodes that live."""
    conn.execute("ALTER TABLE dependency SET (autovacuum_enabled = off)")
    conn.execute("ALTER TABLE checkpoint SET (autovacuum_enabled = off)")
    conn.execute("INSERT INTO node SELECT 'node-' || n, '{simulate}', now() FROM generate_series(0, 9) n")


def fill(conn: Connection[Any], first: int, last: int) -> None:
    """Add the rows with these numbers."""
    conn.execute("SET session_replication_role = replica")  # foreign keys are not looked at: three times faster
    for statement in (FILL_DEPENDENCY, FILL_CHECKPOINT):
        conn.execute(statement.encode(), {"first": first, "last": last})
    conn.execute("RESET session_replication_role")
    conn.execute("SELECT setval('checkpoint_id_seq', %s)", [ROWS])


def analyze(conn: Connection[Any]) -> None:
    """Bring the planner's statistics up to date."""
    conn.execute("ANALYZE dependency")
    conn.execute("ANALYZE checkpoint")


def numbers(state: int, count: int) -> list[int]:
    """Return the numbers of some rows in a state, spread over the tables."""
    every = [n for n in range(1, ROWS + 1) if n % STATES == state]
    return every[:: len(every) // count][:count]


def ids(state: int, count: int) -> list[str]:
    """Return the dependencies of some rows in a state."""
    return [f"d-{n}" for n in numbers(state, count)]
