"""Words that writers and readers of runs share: phases, files, statuses."""

from sweep.trial import State

PARENT = "study"  # `key` and `phase` of a study's parent run
STUDY_FILE, FACTS_FILE = "study.json", "data.json"  # artifacts of the parent run
REPORT_FOLDER = "report"  # among the artifacts of the parent run
REPORT_PAGE = "report.html"
MODEL_PATH = "data/model.keras"  # in a logged model
NOTE = "mlflow.note.content"  # the tag that MLflow's UI shows as the description of an experiment or a run
RUNNING, FINISHED, KILLED, FAILED = "RUNNING", "FINISHED", "KILLED", "FAILED"  # MLflow's statuses of a run
STATUSES = {State.COMPLETE: FINISHED, State.PRUNED: KILLED, State.FAILED: FAILED}
