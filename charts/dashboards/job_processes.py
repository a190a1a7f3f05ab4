"""The processes of a job side by side: which one is slow."""

from dashboards.dashboard import Row
from dashboards.job_queries import agreed, mean_step, of_trainers
from dashboards.panels import GREEN, RED, Query, timeseries


def _memory(use: str) -> str:
    return of_trainers("device_memory_bytes", f'use="{use}"')


PROCESSES = Row(
    "Processes: who is slow",
    [
        timeseries(
            "Step time by process",
            "Mean. Steps end together, so that all processes look alike when one is slow: then compare data wait.",
            Query(mean_step(" by (process)"), "process {{process}}"),
            unit="s",
            minimum=0,
        ),
        timeseries(
            "Data wait by process",
            "Part of the time that a process waits for its batches. One line above the others is the straggler.",
            Query(f"max by (process) (rate({of_trainers('data_wait_seconds_total')}[$__rate_interval]))",
                  "process {{process}}"),
            unit="percentunit",
            minimum=0,
        ),
        timeseries(
            "Steps behind the first",
            "Completed steps of the process that is ahead, less those of this one. More than 1 for long: it hangs.",
            Query(f"scalar({agreed('step')}) - max by (process) ({of_trainers('step')})", "process {{process}}"),
            unit="none",
            minimum=0,
        ),
        timeseries(
            "CPU by process",
            "Cores. A process with fewer than its peers has a slow or a shared node.",
            Query(
                "sum by (process) (rate(process_cpu_seconds_total[$__rate_interval]) * on (instance, job) "
                f"group_left (process) max by (instance, job, process) ({of_trainers('info')}))",
                "process {{process}}",
            ),
            unit="none",
            minimum=0,
        ),
        timeseries(
            "Memory of hosts by process",
            "Resident memory. The kernel kills the process when it passes spec.compute.memory.",
            Query(
                "sum by (process) (process_resident_memory_bytes * on (instance, job) "
                f"group_left (process) max by (instance, job, process) ({of_trainers('info')}))",
                "process {{process}}",
            ),
            unit="bytes",
            minimum=0,
        ),
        timeseries(
            "Memory of devices",
            "Part of an accelerator's memory, of the fullest device: in use, and the peak. Empty on CPUs.",
            *[
                Query(f"max by (process) ({_memory(use)} / ignoring (use) {_memory('limit')})", legend)
                for use, legend in (("in_use", "process {{process}}: in use"), ("peak", "process {{process}}: peak"))
            ],
            unit="percentunit",
            minimum=0,
            maximum=1,
            thresholds=((0, GREEN), (0.95, RED)),
        ),
    ],
)  # fmt: skip
