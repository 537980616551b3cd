"""benchmarks/on_device.py, on a GPU that is not there: a stand-in for the part of torch.cuda that it asks for."""

from types import SimpleNamespace

import pytest


class Gpu:
    """What was asked of it, in order, and a clock that only its jobs move: milliseconds since it began."""

    def __init__(self):
        self.asked, self.clock = [], 0.0
        gpu = self

        class Event:
            def __init__(self, enable_timing):
                assert enable_timing

            def record(self):
                gpu.asked.append("record")
                self.at = gpu.clock

            def synchronize(self):
                gpu.asked.append("wait for the event")

            def elapsed_time(self, end):
                assert gpu.asked[-1] == "wait for the event"
                return end.at - self.at

        self.Event = Event
        self._sleep = lambda cycles: self.work("lead", 50.0)
        self.synchronize = lambda device: self.asked.append("wait")
        self.reset_peak_memory_stats = lambda device: self.asked.append("reset")
        self.max_memory_allocated = lambda device: 1234

    def work(self, name, ms):
        self.asked.append(name)
        self.clock += ms


@pytest.fixture
def on_device(benchmark, monkeypatch):
    module = benchmark("on_device")
    monkeypatch.setattr(module, "torch", SimpleNamespace(cuda=Gpu(), __version__="2.13"))
    return module


CUDA = SimpleNamespace(type="cuda", __str__=lambda: "cuda")


def test_only_the_job_is_timed_after_a_lead_and_the_event_is_waited_for(on_device):
    gpu, spans = on_device.torch.cuda, iter([99, 99, 99, 3, 1, 2, 7, 7, 7])  # three that do not count, and the loop
    times = on_device.measure(lambda: gpu.work("job", next(spans)), CUDA, 3)
    assert times[:3] == (2, 1.5, 2.5)
    assert times.loop > 0
    timed = ["lead", "record", "job", "record", "wait for the event"]
    assert gpu.asked == ["job"] * 3 + ["wait"] + timed * 3 + ["job"] * 3 + ["wait"]


def test_the_most_memory_is_that_of_the_job_once_it_is_done(on_device):
    gpu = on_device.torch.cuda
    assert on_device.peak(lambda: gpu.work("job", 1), CUDA) == 1234
    assert gpu.asked == ["reset", "job", "wait"]


def test_the_gpu_and_its_memory_are_described(on_device):
    gpu = on_device.torch.cuda
    gpu.get_device_name = lambda device: "NVIDIA H100 80GB HBM3"
    on_device.torch.version = SimpleNamespace(cuda="13.0")
    described = on_device.described(CUDA)
    assert (described["name"], described["cuda"], described["torch"]) == ("NVIDIA H100 80GB HBM3", "13.0", "2.13")
    # 2,619 MHz, two transfers a cycle, 5,120 bits: the 3.35 TB/s of its data sheet
    gpu.get_device_properties = lambda device: SimpleNamespace(memory_clock_rate=2_619_000, memory_bus_width=5120)
    assert on_device.greatest_bandwidth(CUDA) == pytest.approx(3.352e12, rel=1e-3)
    gpu.get_device_properties = lambda device: SimpleNamespace()
    assert on_device.greatest_bandwidth(CUDA) is None
