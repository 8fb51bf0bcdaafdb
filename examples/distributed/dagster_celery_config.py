"""What Celery's workers read when they start; `dagster_celery.app` looks for this module."""

import os

broker_url = os.environ["BROKER"]
result_backend = os.environ["RESULTS"]

# A step whose worker has died is given to another worker: it is told as done only when it is done.
task_acks_late = True
task_reject_on_worker_lost = True
# A worker takes no step that it cannot begin.
worker_prefetch_multiplier = 1
# Redis gives a step to another worker after so many seconds, so that this has to be longer than
# the longest step. RabbitMQ knows at once that a worker is gone.
broker_transport_options = {"visibility_timeout": int(os.environ.get("VISIBILITY", "14400"))}
