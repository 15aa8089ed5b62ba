"""What the coordinator does with what it hears from a bridge. The test plays the bridge, at the other end of the pipe."""

import hashlib
import multiprocessing
from contextlib import suppress
from dataclasses import replace

import pytest

from sweep.errors import WorkersError
from sweep.execute.cluster.executor import ALONE_S, ClusterExecutor
from sweep.execute.cluster.link import CONNECT_S, RECONNECT_S, SILENT_S, START_S, Link
from sweep.execute.cluster.messages import (
    Abandon,
    Acknowledge,
    Broken,
    CannotConnect,
    Capacity,
    Connecting,
    Description,
    Found,
    Heard,
    Kill,
    Lost,
    Machine,
    Machines,
    Orders,
    Ready,
    Said,
    Submit,
)
from sweep.record import results
from sweep.trial import EpochReport, Phase, State, Trial, TrialResult, WorkerDied
from tests.execute.cluster.test_rules import CONFIG

ONE, TWO = (Machine(id, f"10.0.0.{k}", True, 1) for k, id in enumerate("ab"))
ONE_WORKER = Capacity("graph", 1)
KEY = "trial-00000"
MODEL = b"a model"


def trial(number=0):
    return Trial(number=number, phase=Phase.SEARCH, config=CONFIG, seed=1)


def report(epoch, key=KEY):
    return EpochReport(key, epoch, {"val_accuracy": 0.5})


def result(key=KEY, content=MODEL):
    files = {results.MODEL: hashlib.sha256(content).hexdigest()}
    course = {"history": [{"loss": 0.1}], "epoch_ended_at": [1.5], "best_epoch": 1}
    return TrialResult(key=key, state=State.COMPLETE, started_at=1.0, ended_at=2.0, files=files, **course)


class Ended:
    """The process of a bridge that is played."""

    exitcode = 1

    def kill(self):
        """Do nothing."""

    def join(self, timeout=None):
        """Do nothing."""


class Played:
    """A cluster as the bridge tells of it, and the executor that listens. `now` is the executor's clock."""

    def __init__(self, folder):
        self.now = 0.0
        self.n_bridges = 0
        self.machines = None  # those of the cluster, once connected
        self.folder = folder
        self.executor = ClusterExecutor(
            Link("10.0.0.9:6379", self._start, folder / "bridge.log", self._clock),
            folder / "results",
            None,
            {"processor": "fast"},
            self._clock,
        )

    def _clock(self):
        return self.now

    def _start(self):
        self.n_bridges += 1
        ours, self.bridge = multiprocessing.Pipe()
        return Ended(), ours

    def tell(self, *messages):
        """Say `messages` as the bridge; return the events they lead to."""
        for message in messages:
            self.bridge.send(message)
        events = [self.executor.wait(0) for _ in messages]
        while (event := self.executor.wait(0)) is not None:
            events.append(event)
        return [event for event in events if event is not None]

    def read(self):
        """Return what the bridge was told."""
        messages = []
        while self.bridge.poll():
            messages.append(self.bridge.recv())
        return messages

    def read_orders(self):
        """Return the orders that the bridge was told to pass on."""
        return [order for message in self.read() if isinstance(message, Orders) for order in message.orders]

    def connect(self, *machines, capacity=ONE_WORKER, processor="fast"):
        """Connect, and have an outpost ready on each machine."""
        self.machines = machines
        self.tell(Connecting(), Machines(machines))
        found = [message for message in self.read() if isinstance(message, Found)]
        assert [one.machine for one in found] == list(machines)
        self.tell(*(Ready(one.outpost, Description("host", capacity, {"processor": processor})) for one in found))
        return [one.outpost for one in found]

    def pass_time(self, seconds):
        """Let time go by, while the executor looks around every second."""
        events = []
        for _ in range(int(seconds)):
            self.now += 1.0
            if self.machines is not None:
                with suppress(OSError):  # the bridge has ended
                    self.bridge.send(Machines(self.machines))
            events.append(self.executor.wait(0))
        return [event for event in events if event is not None]

    def refuse_until(self, now):
        """Have every further bridge say that nothing answers."""
        while self.now < now:
            self.pass_time(1)
            with suppress(OSError):  # there is none at the moment
                self.bridge.send(CannotConnect("nothing answers"))


@pytest.fixture
def played(tmp_path):
    return Played(tmp_path)


def test_a_trial_is_sent_to_a_free_machine_and_its_stored_result_is_acknowledged(played, tmp_path):
    one, two = played.connect(ONE, TWO)
    for number in range(2):
        played.executor.submit(trial(number))
    assert not played.executor.takes(trial(2))
    played.executor.wait(0)
    assert [m.outpost for m in played.read() if isinstance(m, Orders)] == [one, two]
    events = played.tell(Heard(one, (Said(1, report(1), {}), Said(2, result(), {results.MODEL: MODEL}))))
    assert [type(event) for event in events] == [EpochReport, TrialResult]
    assert results.load(tmp_path / "results" / KEY) == events[-1]
    assert (tmp_path / "results" / KEY / results.MODEL).read_bytes() == MODEL
    assert played.read() == [Acknowledge(one, 2)]
    assert played.executor.takes(trial(2))


def test_what_is_heard_twice_is_one_event(played):
    [outpost] = played.connect(ONE)
    played.executor.submit(trial())
    first = Said(1, report(1), {})
    assert len(played.tell(Heard(outpost, (first,)))) == 1
    assert len(played.tell(Heard(outpost, (first, Said(2, report(2), {}))))) == 1


def test_a_result_that_cannot_be_stored_is_not_acknowledged(played, tmp_path):
    [outpost] = played.connect(ONE)
    played.executor.submit(trial())
    played.executor.wait(0)
    played.read()
    (tmp_path / "results" / KEY).touch()
    with pytest.raises(OSError, match="Not a directory"):
        played.tell(Heard(outpost, (Said(1, result(), {results.MODEL: MODEL}),)))
    assert played.read() == []


@pytest.mark.parametrize("files", [{results.MODEL: b"another"}, {}])
def test_a_result_that_arrives_damaged_is_not_stored_and_its_machine_is_given_up(played, tmp_path, files):
    [outpost] = played.connect(ONE)
    played.executor.submit(trial())
    played.executor.wait(0)
    played.read()
    [died] = played.tell(Heard(outpost, (Said(1, result(), files),)))
    assert isinstance(died, WorkerDied)
    assert "model.keras of trial-00000 arrived damaged" in died.reason
    assert not died.blames_trial
    assert played.read() == [Abandon(outpost)]
    assert list((tmp_path / "results").iterdir()) == []


def test_a_result_leads_nowhere_else_by_its_key_or_by_a_file_of_its_own(played, tmp_path):
    outside = {"../../planted": b"x"}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in outside.items()}
    for said, files, why in (
        (replace(result(), files=hashes), outside, "a file of trial-00000: '../../planted' is no name of a file here"),
        (result("../../planted"), {results.MODEL: MODEL}, "'../../planted' is no trial that was sent there"),
    ):
        [outpost] = played.connect(ONE)
        played.executor.submit(trial())
        played.executor.wait(0)
        [died] = played.tell(Heard(outpost, (Said(1, said, files),)))
        assert why in died.reason
        assert not died.blames_trial
        assert played.tell(Machines((Machine(ONE.id, ONE.address, False, 1),))) == []  # called dead: no longer shunned
        assert [path.name for path in tmp_path.rglob("*")] == ["results"]


def test_trials_of_a_lost_machine_are_not_to_blame_and_nothing_it_says_later_counts(played, tmp_path):
    [outpost] = played.connect(ONE)
    played.executor.submit(trial())
    played.executor.wait(0)
    [died] = played.tell(Lost(outpost, "Ray calls it dead"))
    assert (died.key, died.blames_trial) == (KEY, False)
    assert died.reason == "its machine host was lost: Ray calls it dead"
    assert played.executor.n_running == 0
    assert played.tell(Heard(outpost, (Said(1, result(), {results.MODEL: MODEL}),))) == []
    assert list((tmp_path / "results").iterdir()) == []


def test_a_lost_machine_gets_no_outpost_until_it_was_called_dead(played):
    [outpost] = played.connect(ONE)
    played.tell(Lost(outpost, "silent"), Machines((ONE,)))
    assert not any(isinstance(message, Found) for message in played.read())
    dead = Machine(ONE.id, ONE.address, False, 1)
    played.tell(Machines((dead,)), Machines((ONE,)))
    assert [type(message) for message in played.read()] == [Found]


def test_a_worker_that_hangs_is_killed_and_its_trial_is_to_blame(played):
    [outpost] = played.connect(ONE)
    played.executor.submit(trial())
    played.executor.wait(0)
    played.tell(Heard(outpost, (Said(1, report(1), {}),)))
    assert played.pass_time(50) == []
    played.read()
    played.pass_time(20)
    assert played.read() == [Orders(outpost, (Kill(KEY),))]
    [died] = played.tell(Heard(outpost, (Said(2, WorkerDied(KEY, "killed by signal 9"), {}),)))
    assert (died.reason, died.blames_trial) == ("its worker hung and was killed", True)


def test_a_worker_that_hangs_is_noticed_while_others_of_its_machine_go_on(played):
    [outpost] = played.connect(ONE, capacity=Capacity("graph", 2))
    played.executor.submit(trial())
    for number in range(1, 8):
        key = f"trial-{number:05d}"
        played.executor.submit(trial(number))
        played.executor.wait(0)
        played.pass_time(10)
        played.tell(Heard(outpost, (Said(number, result(key), {results.MODEL: MODEL}),)))
    assert not any(order == Kill(KEY) for order in played.read_orders())
    played.pass_time(40)
    assert Kill(KEY) in played.read_orders()


def test_trials_of_a_cohort_are_sent_together_and_wait_for_each_other(played):
    [outpost] = played.connect(ONE, capacity=Capacity("cohort", 2))
    for number in range(2):
        played.executor.submit(trial(number))
    assert not played.executor.takes(trial(2))
    played.executor.wait(0)
    assert played.read() == [Orders(outpost, (Submit(trial(0)), Submit(trial(1))))]
    played.tell(Heard(outpost, (Said(1, report(1), {}),)))
    for second in range(2, 100):  # the other is silent, as one that waits for the next cohort
        played.pass_time(1)
        played.tell(Heard(outpost, (Said(second, report(second), {}),)))
    assert not any(isinstance(message, Orders) for message in played.read())


def test_when_the_bridge_ends_its_trials_are_asked_again_and_another_is_started(played):
    [outpost] = played.connect(ONE)
    played.executor.submit(trial())
    played.executor.wait(0)
    played.bridge.close()
    died = played.executor.wait(0)
    assert (died.key, died.blames_trial) == (KEY, False)
    assert played.executor.n_running == 0
    played.executor.wait(0)
    assert played.n_bridges == 2
    assert played.connect(ONE) != [outpost]
    assert played.executor.takes(trial())


def test_a_bridge_that_falls_silent_is_replaced(played):
    played.connect(ONE)
    played.executor.submit(trial())
    played.machines = None
    [died] = played.pass_time(SILENT_S + 2)
    assert not died.blames_trial
    assert played.n_bridges == 2


def test_a_cluster_that_does_not_come_back_ends_the_command(played):
    played.connect(ONE)
    played.bridge.close()
    with pytest.raises(WorkersError, match=r"10\.0\.0\.9:6379: nothing answers"):
        played.refuse_until(2 * RECONNECT_S)
    assert played.now >= RECONNECT_S
    assert played.n_bridges > 3


def test_a_cluster_that_does_not_let_us_in_ends_the_command_at_once(played):
    with pytest.raises(WorkersError, match=r"10\.0\.0\.9:6379: wrong token; .*RAY_ADDRESS.*--executor local"):
        played.tell(Connecting(), CannotConnect("wrong token"))


def test_a_cluster_that_does_not_answer_ends_the_command_in_time_with_the_last_line_of_the_log(played, tmp_path):
    (tmp_path / "bridge.log").write_text("a line\n[2026-11-27 W 1] gcs_client.cc:210: token is missing\n")
    played.tell(Connecting())
    played.pass_time(CONNECT_S)
    with pytest.raises(WorkersError, match=r"does not answer within 10 s \(token is missing\)"):
        played.pass_time(1)


def test_a_bridge_that_does_not_start_ends_the_command(played):
    with pytest.raises(WorkersError):
        played.pass_time(START_S + 2)


def test_a_machine_that_cannot_train_ends_the_command_if_there_is_no_other(played):
    one, two = played.connect(ONE, TWO)
    played.tell(Broken(one, "no space left"))
    with pytest.raises(WorkersError, match="no machine of the cluster can train: no space left"):
        played.tell(Broken(two, "no space left"))


def test_a_cluster_without_machines_is_waited_for_and_then_ends_the_command(played, caplog):
    played.connect()
    with pytest.raises(WorkersError, match="no machine with free cores"):
        played.pass_time(ALONE_S + 2)
    assert sum("no machine of the cluster" in one.getMessage() for one in caplog.records) == 1


def test_what_differs_on_a_machine_is_said(played, caplog):
    played.connect(ONE, processor="slow")
    assert "machine host: processor is slow, here fast" in [one.getMessage() for one in caplog.records]
