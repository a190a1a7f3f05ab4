"""The dashboard of one job: does it learn, how fast, what does it wait for."""

from dashboards.dashboard import Annotation, Dashboard, Row, Variable
from dashboards.job_processes import PROCESSES
from dashboards.job_queries import JOB_LABELS, agreed, mean_step, of_trainers, share_of_time
from dashboards.panels import BLUE, GREEN, RED, YELLOW, Query, stat, timeseries

_CHECKPOINT_AGE = f"time() - max({of_trainers('checkpoint_timestamp_seconds')})"

_NOW = Row(
    "Now",
    [
        stat(
            "State",
            "State of the job by the operator. Not there for a job of `lateen run`.",
            f"lateen_operator_job_info{JOB_LABELS}",
            legend="{{state}}",
            options={
                "colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto",
                "textMode": "name", "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            },
        ),
        stat(
            "Done",
            "Completed steps by the steps of the whole job.",
            f"{agreed('step')} / {agreed('target_steps')}",
            unit="percentunit",
            decimals=1,
        ),
        stat(
            "Since the last progress",
            "Seconds since the last step ended or the phase changed, of the process that moved last. Above 10 minutes "
            "the job hangs, or compiles a very large model.",
            f"time() - {agreed('last_progress_timestamp_seconds')}",
            unit="s",
            thresholds=((0, GREEN), (120, YELLOW), (600, RED)),
        ),
        stat(
            "Goodput",
            "Part of the time on machines that went into steps that count, over all attempts.",
            f"lateen_operator_job_goodput_ratio{JOB_LABELS}",
            unit="percentunit",
            decimals=1,
            thresholds=((0, RED), (0.7, YELLOW), (0.9, GREEN)),
        ),
        stat(
            "Checkpoint age",
            "What a failure now would cost. The default interval between checkpoints is 15 minutes.",
            _CHECKPOINT_AGE,
            unit="s",
            thresholds=((0, GREEN), (3600, YELLOW), (14400, RED)),
        ),
        stat(
            "Skipped batches",
            "Batches left out because the loss was not finite.",
            agreed("skipped_batches"),
            thresholds=((0, GREEN), (1, YELLOW), (3, RED)),
        ),
    ],
)  # fmt: skip

_LEARNING = Row(
    "Learning",
    [
        timeseries(
            "Loss",
            "Nats per token. A jump upwards after an attempt began is a lost state; steps are repeated exactly.",
            Query(agreed("loss"), "training"),
            Query(agreed("validation_loss"), "validation"),
            unit="none",
            decimals=3,
        ),
        timeseries(
            "Gradient norm",
            "Of the whole gradient, before clipping. Spikes precede a loss that is not finite.",
            Query(agreed("gradient_norm"), "gradient norm"),
            unit="none",
            log=True,
        ),
        timeseries("Learning rate", "Of the last step.", Query(agreed("learning_rate"), "learning rate"), unit="sci"),
        timeseries(
            "Step",
            "Completed steps over all attempts. It falls where steps are trained again after a failure.",
            Query(agreed("step"), "step"),
            Query(agreed("target_steps"), "target"),
            Query(agreed("checkpoint_step"), "last checkpoint"),
            unit="none",
        ),
    ],
)

_SPEED = Row(
    "Speed",
    [
        timeseries(
            "Tokens per second",
            "Over all devices, moving average of 50 steps. It falls with the number of hosts.",
            Query(agreed("tokens_per_second"), "tokens per second"),
            minimum=0,
        ),
        timeseries(
            "MFU",
            "Model FLOPs utilisation: FLOPs that the model needs by the peak of the devices. Empty where the peak of a "
            "device is not known, as on CPUs.",
            Query(agreed("mfu_ratio"), "MFU"),
            unit="percentunit",
            minimum=0,
        ),
        timeseries(
            "Step time",
            "Mean over processes, and the slowest hundredth of steps.",
            Query(mean_step(), "mean"),
            Query(
                "histogram_quantile(0.99, sum by (le) "
                f"(rate({of_trainers('step_duration_seconds_bucket')}[$__rate_interval])))",
                "99th percentile",
            ),
            unit="s",
            minimum=0,
        ),
        timeseries(
            "Time that is not spent in steps",
            "Part of the time, mean over processes. Data wait above 5 %: the source or its cache is too slow. "
            "Checkpoint blocked: the last checkpoint is still written when the next is due.",
            Query(share_of_time("data_wait_seconds_total"), "data wait"),
            Query(share_of_time("checkpoint_blocked_seconds_total"), "checkpoint blocked"),
            Query(share_of_time("compile_seconds_total"), "compile"),
            unit="percentunit",
            stacked=True,
            minimum=0,
        ),
        timeseries(
            "Time by phase",
            "Part of the time in each phase, mean over processes; they add up to 1. A healthy job is in Training.",
            Query(f"avg by (phase) (rate({of_trainers('phase_seconds_total')}[$__rate_interval]))", "{{phase}}"),
            unit="percentunit",
            stacked=True,
            minimum=0,
            maximum=1,
        ),
        timeseries(
            "Where the time goes",
            "Share of each activity in the wall time, suspension and waiting for a queue or machines included, over 10 "
            "minutes. lost_steps: steps that were trained again after a failure. By the operator.",
            Query(f"rate(lateen_operator_job_seconds_total{JOB_LABELS}[10m])", "{{activity}}"),
            unit="percentunit",
            stacked=True,
            minimum=0,
        ),
        timeseries(
            "Attempts and devices",
            "Attempts that were made, and hosts and devices of the present one.",
            Query(f"lateen_operator_job_attempts_total{JOB_LABELS}", "attempts"),
            Query(f"lateen_operator_job_hosts{JOB_LABELS}", "hosts"),
            Query(f"lateen_operator_job_devices{JOB_LABELS}", "devices"),
            minimum=0,
            decimals=0,
            width=24,
            height=6,
        ),
    ],
)

_CHECKPOINTS = Row(
    "Checkpoints",
    [
        timeseries(
            "Age of the last checkpoint",
            "A saw tooth of the height of checkpoint.saveInterval. A line that keeps rising: saving fails.",
            Query(_CHECKPOINT_AGE, "age"),
            unit="s",
            width=8,
            minimum=0,
            thresholds=((0, GREEN), (3600, YELLOW), (14400, RED)),
        ),
        timeseries(
            "Duration",
            "From the snapshot to the commit, mean. Training goes on meanwhile.",
            Query(
                f"sum(rate({of_trainers('checkpoint_duration_seconds_sum')}[$__rate_interval])) / "
                f"(sum(rate({of_trainers('checkpoint_duration_seconds_count')}[$__rate_interval])) > 0)",
                "mean",
            ),
            unit="s",
            width=8,
            minimum=0,
        ),
        timeseries(
            "Size",
            "Of the last checkpoint, uncompressed; and checkpoints that were set aside because they are damaged.",
            Query(agreed("checkpoint_size_bytes"), "size"),
            Query(agreed("damaged_checkpoints"), "damaged checkpoints"),
            unit="bytes",
            width=8,
            minimum=0,
            overrides=[
                {
                    "matcher": {"id": "byName", "options": "damaged checkpoints"},
                    "properties": [
                        {"id": "unit", "value": "short"},
                        {"id": "custom.axisPlacement", "value": "right"},
                        {"id": "color", "value": {"mode": "fixed", "fixedColor": RED}},
                    ],
                }
            ],
        ),
    ],
)

JOB = Dashboard(
    uid="lateen-job",
    title="lateen / Job",
    description="One training job: losses, speed, checkpoints, attempts and its processes.",
    variables=[
        Variable(
            "namespace",
            "Namespace",
            'label_values({__name__=~"lateen_operator_job_info|lateen_trainer_info"}, training_job_namespace)',
        ),
        Variable(
            "training_job",
            "Job",
            'label_values({__name__=~"lateen_operator_job_info|lateen_trainer_info", '
            'training_job_namespace="$namespace"}, training_job)',
        ),
    ],
    rows=[_NOW, _LEARNING, _SPEED, _CHECKPOINTS, PROCESSES],
    annotations=[
        Annotation(
            "Attempts that began",
            f"max by (attempt) ({of_trainers('info')}) unless max by (attempt) ({of_trainers('info')} offset 1m)",
            "Attempt {{attempt}}",
            BLUE,
        ),
        Annotation(
            "Attempts that ended",
            f"sum by (failure_class) (increase(lateen_operator_job_attempts_ended_total{JOB_LABELS}[1m])) > 0",
            "Ended: {{failure_class}}",
            RED,
        ),
    ],
)
